//! `boot`: nodes in an emulator, to try a cluster before a card is written.

mod access;
mod cards;
mod folder;
mod show;
mod wires;

use std::ffi::OsString;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::args::{self, Until};
use super::context::Context;
use super::message::{Failure, Outcome};
use super::plan::{Planned, Remember, plan_nodes};
use crate::boot::{BootError, Fault, Kind, Lab, Lan, Segment, Slot, find_program, gateway};
use crate::lock::Mode;
use crate::planner::{self, View};

use cards::Cards;
use folder::Sockets;
use show::Show;

/// How often consoles are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Lines of a console that are shown when its node is late.
const TAIL: usize = 12;

/// How it ended.
enum End {
    Reached,
    Interrupted,
}

/// `ceil-img boot`
pub fn boot(context: &Context, args: &args::Boot) -> Result<Outcome, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Told before an image is made, not after.
    find_program("qemu-system-aarch64", &path)?;
    context.use_lock(&args.cluster, Mode::Fill, true)?;
    let planned = plan_nodes(context, &args.cluster, &args.nodes, Remember::Yes)?;
    check_faults(args, &planned)?;
    check_disks(args, &planned)?;
    let all = planner::views(&planned.spec, &planned.inputs)?;
    let views: Vec<&View<'_>> = planned
        .plans
        .iter()
        .filter_map(|plan| all.iter().find(|v| v.spec.name.as_str() == plan.node))
        .collect();
    let mut cards = Cards::open(args, &planned)?;
    let sockets = Sockets::make()?;
    let lan = match args.machine {
        Kind::Virt => Some(wires::plan(context, args, &planned, &all, &views)?),
        kind => {
            context.note(&format!("a `{}` has no network in the emulator", kind.word()));
            None
        }
    };
    let routed = lan.as_ref().is_some_and(|lan| !lan.serves_dhcp);
    let segment = match &lan {
        // Port 0 is the host's.
        Some(_) => Some(Segment::open(
            sockets.path(),
            1 + wires::count(&views),
            routed.then_some(0),
        )?),
        None => None,
    };
    let mut slots = Vec::new();
    let mut port = 1;
    for (plan, view) in planned.plans.iter().zip(&views) {
        let mut machine = cards
            .make(context, &planned, plan, view)
            .map_err(|e| e.while_doing(format!("node `{}` cannot be booted", plan.node)))?;
        machine.control = sockets.path().join(format!("{}.qmp", slots.len()));
        if let (Some(lan), Some(segment)) = (&lan, &segment) {
            machine.nics = wires::nics(args, view, lan, segment, &mut port);
        }
        if let Some(clock) = args.fault.iter().rev().find_map(|fault| match fault {
            Fault::Clock(time) => Some(time),
            _ => None,
        }) {
            machine.clock.clone_from(clock);
        }
        slots.push(Slot::new(
            &plan.node,
            plan.identity.hostname.as_str(),
            machine,
            &args.fault,
        ));
    }
    let access = match &lan {
        Some(lan) => access::write(args, &planned, &views, lan, &mut cards)?,
        None => access::Access::default(),
    };
    let host: Option<Vec<OsString>> = match (&lan, &segment) {
        (Some(lan), Some(segment)) => Some(gateway(lan, segment.port(0), args.uplink)),
        _ => None,
    };
    let mut lab = Lab::new(slots, segment, host.as_deref(), &path, sockets.path())?;
    let show = Show::new(context, &lab);
    if let Some(lan) = &lan {
        tell_forwards(context, lan, &show)?;
    }
    let until = args.until.or((!args.command.is_empty()).then_some(Until::Ready));
    match run(context, args, until, &mut lab, &show)? {
        End::Interrupted if until.is_some() => Err(Failure::new("interrupted; the nodes were switched off")),
        End::Interrupted => Ok(Outcome::Done),
        End::Reached => {
            show.end();
            command(context, args, &access, &mut lab)
        }
    }
}

fn check_faults(args: &args::Boot, planned: &Planned) -> Result<(), Failure> {
    for fault in &args.fault {
        if *fault == Fault::NoUplink && args.uplink {
            return Err(Failure::new(
                "`--uplink` and `--fault no-uplink` contradict each other",
            ));
        }
        if let Some(node) = fault.node() {
            check_node(planned, &format!("--fault {fault}"), node)?;
        }
    }
    Ok(())
}

fn check_disks(args: &args::Boot, planned: &Planned) -> Result<(), Failure> {
    for (number, disk) in args.disk.iter().enumerate() {
        let what = format!("--disk {}:{}", disk.node, disk.name);
        check_node(planned, &what, &disk.node)?;
        if args.disk.iter().take(number).any(|other| other.same(disk)) {
            return Err(Failure::new(format!("{what}: this disk is given twice")));
        }
        if args.machine != Kind::Virt {
            return Err(Failure::new(format!(
                "{what}: a `{}` has no data disks in the emulator",
                args.machine.word()
            )));
        }
    }
    Ok(())
}

/// Whether a node that an option names is among those booted.
fn check_node(planned: &Planned, option: &str, node: &str) -> Result<(), Failure> {
    if planned.plans.iter().any(|plan| plan.node == node) {
        return Ok(());
    }
    Err(not_booted(planned, option, node))
}

/// What is said of a node that an option names and that is not booted.
fn not_booted(planned: &Planned, option: &str, node: &str) -> Failure {
    let known: Vec<&str> = planned.plans.iter().map(|plan| plan.node.as_str()).collect();
    let text = format!("{option}: there is no node `{node}` among those booted");
    Failure::new(text).hint(format!("they are {}", known.join(", ")))
}

fn tell_forwards(context: &Context, lan: &Lan, show: &Show<'_>) -> Result<(), Failure> {
    for forward in &lan.forwards {
        show.forward(context, forward)?;
    }
    Ok(())
}

/// Looks after the nodes until they are where they should be, or the user has seen enough.
fn run(
    context: &Context,
    args: &args::Boot,
    until: Option<Until>,
    lab: &mut Lab,
    show: &Show<'_>,
) -> Result<End, Failure> {
    let begin = Instant::now();
    loop {
        let now = begin.elapsed();
        let changes = lab.poll(now);
        // An interrupt at the terminal reaches the emulators as well: that they end is no failure of theirs.
        if changes.is_err() || lab.stopped().is_some() {
            std::thread::sleep(TICK);
        }
        if context.cancel.load(Ordering::Relaxed) {
            return Ok(End::Interrupted);
        }
        for change in changes? {
            show.change(context, &change, now)?;
        }
        if let Some(until) = until {
            if lab.reached(until == Until::Login) {
                return Ok(End::Reached);
            }
            if let Some(slot) = lab.stopped() {
                return Err(late(
                    args,
                    lab,
                    until,
                    &format!("node `{}` switched itself off", slot.name),
                ));
            }
            if now >= args.timeout {
                let text = format!("not all nodes got there in {} s", args.timeout.as_secs());
                return Err(late(args, lab, until, &text));
            }
        } else if lab
            .slots
            .iter()
            .all(|slot| *slot.state() == crate::boot::State::Stopped)
        {
            return Ok(End::Reached);
        }
        std::thread::sleep(TICK);
    }
}

/// What is said of each node that is not where it should be.
fn late(args: &args::Boot, lab: &Lab, until: Until, text: &str) -> Failure {
    let mut failure = Failure::new(text);
    for slot in &lab.slots {
        let console = slot.console();
        let there = match until {
            Until::Login => console.login() || console.ready(),
            Until::Ready => console.ready(),
        };
        if there {
            continue;
        }
        let step = console.last_step().unwrap_or("none");
        let tail: Vec<String> = console
            .tail(TAIL)
            .iter()
            .map(|line| format!("\n    {line}"))
            .collect();
        failure = failure.hint(format!(
            "node `{}` is {} (last step: {step}); its console, in full in `{}`:{}",
            slot.name,
            slot.state(),
            args.dir.join(format!("{}.log", slot.name)).display(),
            tail.concat()
        ));
    }
    failure
}

/// Runs the user's command, if there is one, while the nodes run on.
fn command(
    context: &Context,
    args: &args::Boot,
    access: &access::Access,
    lab: &mut Lab,
) -> Result<Outcome, Failure> {
    let Some((program, words)) = args.command.split_first() else {
        return Ok(Outcome::Done);
    };
    let mut command = Command::new(program);
    command.args(words).env("CEIL_BOOT_DIR", &args.dir);
    if let Some(file) = &access.ssh_config {
        command.env("CEIL_SSH_CONFIG", file);
    }
    if let Some(file) = &access.kubeconfig {
        command.env("KUBECONFIG", file);
    }
    let mut child = command
        .spawn()
        .map_err(|e| Failure::from(e).while_doing(format!("cannot run `{program}`")))?;
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // Nodes that fall over under the command are its to notice.
        if let Err(error @ (BootError::Ended { .. } | BootError::Io { .. })) = lab.poll(begin.elapsed()) {
            context.warn(&error.to_string());
        }
        if context.cancel.load(Ordering::Relaxed) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failure::new("interrupted; the nodes were switched off"));
        }
        std::thread::sleep(TICK);
    };
    if status.success() {
        return Ok(Outcome::Done);
    }
    Err(Failure::new(format!(
        "`{}` failed: {status}",
        args.command.join(" ")
    )))
}
