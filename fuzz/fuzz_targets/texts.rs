#![no_main]

use ceil_img::amend;
use ceil_img::spec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = spec::parse_cluster("cluster.yaml", text);
    let _ = spec::parse_profile("profile.yaml", text);
    let _ = spec::parse_edits("edits.yaml", text);
    let words = ["cgroup_enable=memory"];
    if let Ok(once) = amend::kernel_args(text, &words, &["quiet"]) {
        assert_eq!(
            amend::kernel_args(&once, &words, &["quiet"]).as_deref(),
            Ok(&*once)
        );
    }
    if let Ok(once) = amend::config_txt(text, "all", &[("gpu_mem", "16")], &[""; 0]) {
        assert_eq!(
            amend::config_txt(&once, "all", &[("gpu_mem", "16")], &[""; 0]).as_deref(),
            Ok(&*once)
        );
    }
    let _ = amend::fstab(text, "/data", Some("/dev/sda1 /data ext4 defaults 0 2"));
    let _ = amend::parse_os_release(text);
});
