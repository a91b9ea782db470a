//! `tools/install.sh` and `tools/uninstall.sh` with the built binary, in a home of their own: see
//! `tools/install_test.sh`.

use std::process::Command;

#[test]
fn what_is_installed_can_be_used_and_goes_again() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/install_test.sh");
    let run = Command::new("sh").arg(script).env("MUX_BIN", env!("CARGO_BIN_EXE_muxloop")).output().unwrap();
    let said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    assert!(run.status.success() && said.contains("install: all is well"), "{said}");
}
