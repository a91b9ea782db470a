//! Landlock by its three system calls (landlock(7)): which rights there are, and rulesets.
//!
//! Rulesets are built before fork; [`restrict`] is the one call for between fork and exec. What goes into
//! a ruleset is decided in `sandbox.rs`.

use crate::engine::sandbox::{Landlock, NO_LANDLOCK};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Rights to files and directories, as bits.
pub const EXECUTE: u64 = 1 << 0;
pub const WRITE_FILE: u64 = 1 << 1;
pub const READ_FILE: u64 = 1 << 2;
pub const READ_DIR: u64 = 1 << 3;
pub const REMOVE_DIR: u64 = 1 << 4;
pub const REMOVE_FILE: u64 = 1 << 5;
pub const MAKE_CHAR: u64 = 1 << 6;
pub const MAKE_DIR: u64 = 1 << 7;
pub const MAKE_REG: u64 = 1 << 8;
pub const MAKE_SOCK: u64 = 1 << 9;
pub const MAKE_FIFO: u64 = 1 << 10;
pub const MAKE_BLOCK: u64 = 1 << 11;
pub const MAKE_SYM: u64 = 1 << 12;
/// Linking and renaming from one directory to another (ABI 2).
pub const REFER: u64 = 1 << 13;
/// ABI 3.
pub const TRUNCATE: u64 = 1 << 14;
/// ioctl(2) of devices (ABI 5).
pub const IOCTL_DEV: u64 = 1 << 15;
/// What a rule about something that is no directory may say; more is EINVAL.
pub const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

/// Rights to TCP ports (ABI 4).
pub const BIND_TCP: u64 = 1 << 0;
pub const CONNECT_TCP: u64 = 1 << 1;

/// What must not reach out of the sandbox (ABI 6).
pub const ABSTRACT_SOCKETS: u64 = 1 << 0;
pub const SIGNALS: u64 = 1 << 1;

/// What a ruleset takes away where no rule gives it back; `struct landlock_ruleset_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    pub files: u64,
    pub net: u64,
    pub scopes: u64,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// What this kernel has.
pub fn probe() -> Landlock {
    let none = std::ptr::null::<Handled>();
    // SAFETY: with this flag the kernel takes a null pointer and answers with a number.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, VERSION_FLAG) };
    match u32::try_from(abi) {
        Ok(abi) => Landlock::Abi(abi),
        Err(_) => match io::Error::last_os_error().raw_os_error() {
            Some(libc::EOPNOTSUPP) => Landlock::Absent(
                "Landlock is off in this kernel (the boot option lsm= must name landlock, too)",
            ),
            Some(libc::ENOSYS) => Landlock::Absent(NO_LANDLOCK),
            _ => Landlock::Absent(
                "this system lets nobody use Landlock (a seccomp filter, as of a container?)",
            ),
        },
    }
}

/// A ruleset without rules; close-on-exec.
///
/// # Errors
/// E2BIG or EINVAL if the kernel does not know what is handled.
pub fn ruleset(handled: &Handled) -> io::Result<OwnedFd> {
    // The kernel takes a structure that is longer than its own if the rest is zero.
    let len = size_of::<Handled>();
    // SAFETY: `handled` is valid for reading, and `len` is its size.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *handled, len, 0) } as i32;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives back rights to `parent` and, if it is a directory, to all beneath it.
///
/// # Errors
/// EINVAL for rights that are not handled, or that only a directory can have.
pub fn allow(ruleset: BorrowedFd<'_>, parent: BorrowedFd<'_>, allowed: u64) -> io::Result<()> {
    let rule = PathBeneath { allowed, parent: parent.as_raw_fd() };
    let (fd, rule) = (ruleset.as_raw_fd(), &raw const rule);
    // SAFETY: both descriptors are open, and `rule` is what this kind of rule is read as.
    match unsafe { libc::syscall(libc::SYS_landlock_add_rule, fd, PATH_BENEATH, rule, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Holds this thread and all that comes from it to a ruleset, for good. Needs [`no_new_privileges`].
/// Async-signal-safe.
pub fn restrict(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open; plain numbers.
    match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// From here on no exec gives more privileges (set-user-ID programs run without theirs).
/// Async-signal-safe.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: plain numbers.
    match unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as libc::c_ulong, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION_FLAG: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: u32 = 1;
