//! A seccomp filter (seccomp(2)) under which only sockets within the machine are made.
//!
//! Landlock knows TCP; this closes what it does not know: UDP, raw and all other families. `AF_UNIX` stays,
//! and `AF_NETLINK`, by which programs ask about interfaces. io_uring, which makes sockets past any filter,
//! is told to be missing, and system calls of another architecture (32-bit programs) end the process.
//!
//! ```text
//!   arch is ours? ─no▶ kill     number is io_uring_setup? ─▶ ENOSYS
//!   number is socket? ─no▶ allow     family is AF_UNIX or AF_NETLINK? ─no▶ EACCES
//! ```

use std::io;

/// The program of a filter; made before fork.
#[derive(Debug)]
pub struct SocketFilter {
    program: Vec<libc::sock_filter>,
}

impl SocketFilter {
    /// `None` where this architecture or kernel has none.
    pub fn new() -> Option<SocketFilter> {
        let arch = ARCH.filter(|_| kernel_has_filters())?;
        let deny = |code: i32| libc::SECCOMP_RET_ERRNO | code as u32;
        Some(SocketFilter {
            program: vec![
                load(ARCH_OFFSET),
                unless_equal(arch, 8),
                load(NUMBER_OFFSET),
                // Those of x32, the second set of x86_64.
                if_at_least(X32, 7),
                if_equal(libc::SYS_io_uring_setup as u32, 6),
                unless_equal(libc::SYS_socket as u32, 6),
                load(FAMILY_OFFSET),
                if_equal(libc::AF_UNIX as u32, 4),
                if_equal(libc::AF_NETLINK as u32, 3),
                answer(deny(libc::EACCES)),
                answer(libc::SECCOMP_RET_KILL_PROCESS),
                answer(deny(libc::ENOSYS)),
                answer(libc::SECCOMP_RET_ALLOW),
            ],
        })
    }

    /// Holds this thread and all that comes from it to the filter, for good. Needs no new privileges
    /// (`landlock::no_new_privileges`). Async-signal-safe.
    pub fn enter(&self) -> io::Result<()> {
        let (len, filter) = (self.program.len() as u16, self.program.as_ptr().cast_mut());
        let program = libc::sock_fprog { len, filter };
        let mode = libc::SECCOMP_MODE_FILTER as libc::c_ulong;
        // SAFETY: `program` names instructions that live as long as `self`, and the kernel copies them.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, 0, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Whether this kernel takes filters that answer with an error.
fn kernel_has_filters() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    let ask = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: `action` is valid for reading.
    unsafe { libc::syscall(libc::SYS_seccomp, ask, 0, &raw const action) == 0 }
}

// The instructions; jumps count from the next one.

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn if_equal(value: u32, skip: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, 0, value)
}

fn unless_equal(value: u32, skip: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, skip, value)
}

fn if_at_least(value: u32, skip: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, skip, 0, value)
}

fn answer(value: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

// Places in `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;
/// The half of the first argument that socket(2) looks at; all architectures here are little-endian.
const FAMILY_OFFSET: u32 = 16;
const X32: u32 = 0x4000_0000;

/// `AUDIT_ARCH_…`, where this program was tried.
const ARCH: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(0xC000_003E)
} else if cfg!(all(target_arch = "aarch64", target_endian = "little", target_pointer_width = "64")) {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xC000_00F3)
} else {
    None
};

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers, by an interpreter of these few instructions.
    fn verdict(filter: &SocketFilter, number: u32, arch: u32, family: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = filter.program[at];
            at += 1;
            let jump = |is: bool| usize::from(if is { step.jt } else { step.jf });
            match step.code {
                code if code == load(0).code => {
                    loaded = match step.k {
                        NUMBER_OFFSET => number,
                        ARCH_OFFSET => arch,
                        FAMILY_OFFSET => family,
                        other => panic!("offset {other}"),
                    };
                }
                code if code == if_equal(0, 0).code => at += jump(loaded == step.k),
                code if code == if_at_least(0, 0).code => at += jump(loaded >= step.k),
                code if code == answer(0).code => return step.k,
                code => panic!("code {code}"),
            }
        }
    }

    #[test]
    fn only_sockets_within_the_machine_are_made() {
        // Where there are none, a sandbox without network is refused, which others test.
        let (Some(filter), Some(arch)) = (SocketFilter::new(), ARCH) else { return };
        let of = |number: i64, family: i32| verdict(&filter, number as u32, arch, family as u32);
        let error = |code: i32| libc::SECCOMP_RET_ERRNO | code as u32;
        for family in [libc::AF_INET, libc::AF_INET6, libc::AF_PACKET, libc::AF_VSOCK, libc::AF_BLUETOOTH, -1]
        {
            assert_eq!(of(libc::SYS_socket, family), error(libc::EACCES), "{family}");
        }
        for family in [libc::AF_UNIX, libc::AF_NETLINK] {
            assert_eq!(of(libc::SYS_socket, family), libc::SECCOMP_RET_ALLOW, "{family}");
        }
        for number in [libc::SYS_read, libc::SYS_connect, libc::SYS_socketpair, libc::SYS_execve] {
            assert_eq!(of(number, libc::AF_INET), libc::SECCOMP_RET_ALLOW, "{number}");
        }
        assert_eq!(of(libc::SYS_io_uring_setup, 0), error(libc::ENOSYS));
        assert_eq!(of(libc::SYS_socket | i64::from(X32), libc::AF_INET), error(libc::ENOSYS));
        assert_eq!(
            verdict(&filter, libc::SYS_read as u32, arch ^ 0x8000_0000, 0),
            libc::SECCOMP_RET_KILL_PROCESS
        );
    }
}
