//! The command line: arguments become calls, results become words. The only room that knows the terminal, the
//! environment and the clock, and nothing else names it.

#![allow(clippy::disallowed_methods, reason = "the one room that asks the world")]

mod args;
mod boot;
mod build;
mod bundle;
mod card;
mod context;
mod devices;
mod dump;
mod edit;
mod export;
mod flash;
mod fleet;
mod gates;
mod init;
mod kubeconfig;
mod lint;
mod locked;
mod look;
mod memo;
mod message;
mod plan;
mod profiles;
mod programs;
mod progress;
mod reconfigure;
mod replan;
mod rows;
mod run;
mod secrets;
mod ssh;
mod status;
mod store;
mod teardown;
mod terminal;
mod token;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
use context::Context;
use message::{Failure, Outcome};

/// Parses the arguments, runs the command and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.global.json;
    match run(&cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Different) => ExitCode::FAILURE,
        Ok(Outcome::WouldChange) => ExitCode::from(2),
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            if json {
                // Where stdout is gone, the words below still say what happened.
                let _ = message::json(&failure.to_json());
            }
            message::words(&failure.render());
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<Outcome, Failure> {
    if let Command::Completions(args) = &cli.command {
        let mut script = Vec::new();
        clap_complete::generate(args.shell, &mut Cli::command(), "ceil-img", &mut script);
        std::io::stdout().lock().write_all(&script)?;
        return Ok(Outcome::Done);
    }
    let context = Context::new(&cli.global)?;
    match &cli.command {
        Command::Build(args) => build::build(&context, args),
        Command::Boot(args) => boot::boot(&context, args),
        Command::Flash(args) => flash::flash(&context, args),
        Command::Devices(args) => devices::devices(&context, args),
        Command::Reconfigure(args) => reconfigure::reconfigure(&context, args),
        Command::Backup(args) => card::backup(&context, args),
        Command::FlashWriter => flash::serve(&context),
        Command::Init(args) => init::init(&context, args),
        Command::Profiles(args) => profiles::profiles(&context, args),
        Command::Schema(args) => profiles::schema(args),
        Command::Plan(args) => plan::plan(&context, args),
        Command::Export(args) => export::export(&context, args),
        Command::Teardown(args) => teardown::teardown(&context, args),
        Command::Status(args) => status::status(&context, args),
        Command::Ssh(args) => ssh::ssh(&context, args),
        Command::Run(args) => run::run(&context, args),
        Command::Kubeconfig(args) => kubeconfig::kubeconfig(&context, args),
        Command::Token(args) => token::token(&context, args),
        Command::Secrets(args) => secrets::secrets(&context, args),
        Command::Lint(args) => lint::lint(&context, args),
        Command::Fetch(args) => plan::fetch(&context, args),
        Command::Edit(args) => edit::edit(&context, args),
        Command::Images => store::images(&context),
        Command::Artifacts(args) => store::artifacts(&context, args),
        Command::Cache(args) => store::cache(&context, args),
        Command::Inspect(args) => look::inspect(&context, args),
        Command::Ls(args) => look::ls(&context, args),
        Command::Cat(args) => look::cat(&context, args),
        Command::Extract(args) => look::extract(&context, args),
        Command::Diff(args) => look::diff_images(&context, args),
        Command::Check(args) => look::check(&context, args),
        Command::Verify(args) => rows::verify(&context, args),
        Command::Completions(_) => Ok(Outcome::Done),
    }
}
