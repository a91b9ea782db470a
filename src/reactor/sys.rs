//! System calls that std lacks, each behind a safe function.
//!
//! Nothing here decides anything; the callers in this folder know when and why.

use crate::engine::port::ExitStatus;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A process id, or the id of a process group (that of its leader).
pub type Pid = libc::pid_t;

/// Sends a signal to one process.
///
/// # Errors
/// ESRCH if it is gone, EPERM if it is not ours.
pub fn signal_process(pid: Pid, signal: i32) -> io::Result<()> {
    assert!(pid > 1, "0, -1 and init are never meant");
    // SAFETY: plain numbers; kill(2) touches no memory of ours.
    check(unsafe { libc::kill(pid, signal) })
}

/// Sends a signal to every process of a group.
///
/// # Errors
/// ESRCH if the group is empty, EPERM if none of it is ours.
pub fn signal_group(group: Pid, signal: i32) -> io::Result<()> {
    assert!(group > 1, "0, -1 and init are never meant");
    // SAFETY: plain numbers; kill(2) touches no memory of ours.
    check(unsafe { libc::kill(-group, signal) })
}

/// Drops the pages of a mapping of code; they are read again from the file (or its cache) when needed.
#[cfg(target_os = "linux")]
pub(super) fn forget_code(start: usize, len: usize) {
    // SAFETY: the caller found these bounds in /proc/self/maps, as a private mapping of a file that
    // cannot be written to: every page of it comes back as it was. Nothing depends on the outcome.
    unsafe { libc::madvise(start as *mut libc::c_void, len, libc::MADV_DONTNEED) };
}

/// Size of a page of memory, in bytes.
pub fn page_bytes() -> u64 {
    // SAFETY: asks for a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// How a child ended, without reaping it: its id stays taken, so signals to its group cannot hit a
/// stranger. `None` while it runs.
///
/// # Errors
/// ECHILD if it is no child of ours (any more).
pub fn exit_of(pid: Pid) -> io::Result<Option<ExitStatus>> {
    wait_id(pid, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// Reaps a child that has ended; `None` while it runs.
///
/// # Errors
/// ECHILD if it is no child of ours (any more).
pub fn reap(pid: Pid) -> io::Result<Option<ExitStatus>> {
    wait_id(pid, libc::WEXITED | libc::WNOHANG)
}

fn wait_id(pid: Pid, flags: i32) -> io::Result<Option<ExitStatus>> {
    // SAFETY: siginfo_t is plain data, for which zeroes are a value (and say "no child" afterwards).
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is valid for writing during the call.
    check(unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, flags) })?;
    // SAFETY: waitid(2) fills the fields of SIGCHLD, or leaves the zeroes.
    let (who, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match info.si_code {
        _ if who == 0 => None,
        libc::CLD_EXITED => Some(ExitStatus::Code(status)),
        _ => Some(ExitStatus::Signal(status)),
    })
}

/// A descriptor that becomes readable when the process ends.
///
/// # Errors
/// ENOSYS before Linux 5.3 and elsewhere; ESRCH if there is no such process.
#[cfg(target_os = "linux")]
pub fn open_process(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers; the result is checked before it is owned.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    check(fd as i32)?;
    // SAFETY: the kernel just made this descriptor for us (close-on-exec is implied).
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A descriptor that becomes readable when the process ends: not known here.
#[cfg(not(target_os = "linux"))]
pub fn open_process(_pid: Pid) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// SIGKILL to exactly the process behind `process`, even if its number is in use again.
#[cfg(target_os = "linux")]
pub fn kill_open_process(process: BorrowedFd<'_>) -> io::Result<()> {
    let (fd, none) = (process.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: the descriptor is open, and a null siginfo means what kill(2) means.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, none, 0) } as i32)
}

/// Orphaned descendants become children of this process instead of init's (Linux).
pub fn become_subreaper() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong, 0, 0, 0) })?;
    Ok(())
}

/// For a child between fork and exec: to be killed when the thread that forked it ends (Linux).
/// Async-signal-safe.
pub fn die_with(parent: Pid) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: plain numbers.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0, 0, 0) })?;
        // SAFETY: takes and touches nothing.
        if unsafe { libc::getppid() } != parent {
            // The parent died before the line above: nobody will signal any more.
            // SAFETY: ends this process without running anything.
            unsafe { libc::_exit(127) }
        }
    }
    let _ = parent;
    Ok(())
}

/// A session and process group of one's own. Async-signal-safe.
pub fn new_session() -> io::Result<()> {
    // SAFETY: takes and touches nothing.
    check(unsafe { libc::setsid() })
}

/// For a child between fork and exec: leaves its parent for good. What goes on is a process of a session of
/// its own, which it does not lead, whose parent is init (or a subreaper); the child that the parent knows
/// ends at once. Async-signal-safe.
pub(super) fn leave_parent() -> io::Result<()> {
    new_session()?;
    // SAFETY: between fork and exec there is one thread, and nothing runs in either process that is not
    // async-signal-safe.
    match unsafe { libc::fork() } {
        0 => Ok(()),
        // SAFETY: ends this process without running anything.
        pid if pid > 0 => unsafe { libc::_exit(0) },
        _ => Err(io::Error::last_os_error()),
    }
}

/// Names this thread for `ps` (Linux).
pub fn set_name(name: &std::ffi::CStr) {
    #[cfg(target_os = "linux")]
    // SAFETY: a valid C string; the kernel copies at most 16 bytes of it.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0)
    };
    let _ = name;
}

/// Closes every descriptor from `first` on. Only for a process that has just begun and owns none of them.
pub fn close_from(first: i32) {
    #[cfg(target_os = "linux")]
    // SAFETY: plain numbers; nobody in this process owns these descriptors (see above).
    if check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } as i32).is_ok() {
        return;
    }
    // Before Linux 5.9, and elsewhere: those that a parent is at all likely to have left open.
    for fd in first..256 {
        // SAFETY: as above; closing what is not open is an error that means nothing.
        unsafe { libc::close(fd) };
    }
}

/// What is open from `first` on is closed by the next exec. Async-signal-safe.
///
/// # Errors
/// EINVAL before Linux 5.11.
#[cfg(all(feature = "sandbox", target_os = "linux"))]
pub fn close_on_exec_from(first: i32) -> io::Result<()> {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: plain numbers; the descriptors stay open in this process.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flag) } as i32)
}

/// Has this process ignore a signal.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN installs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Has this process end at once, with exit code 0 and without running anything, when a signal comes.
pub fn exit_on(signal: i32) {
    extern "C" fn exit(_: i32) {
        // SAFETY: async-signal-safe.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: the handler only makes a call that is async-signal-safe.
    unsafe { libc::signal(signal, exit as extern "C" fn(i32) as libc::sighandler_t) };
}

/// The soft limit of open descriptors is raised to the hard one; returns what it was.
///
/// # Errors
/// From the kernel; then nothing changed.
pub fn raise_descriptor_limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writing.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    // macOS refuses more than OPEN_MAX (10,240) unless told otherwise.
    let most = if cfg!(target_os = "macos") { limit.rlim_max.min(10_240) } else { limit.rlim_max };
    if limit.rlim_cur < most {
        set_descriptor_limit(libc::rlimit { rlim_cur: most, ..limit })?;
    }
    Ok(limit)
}

/// Sets the limits of open descriptors. Async-signal-safe.
pub fn set_descriptor_limit(limit: libc::rlimit) -> io::Result<()> {
    // SAFETY: `limit` is valid for reading.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
}

/// Which resource, as setrlimit(2) has it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub type Resource = libc::__rlimit_resource_t;
/// Which resource, as setrlimit(2) has it.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub type Resource = libc::c_int;

/// Lowers the two values of a limit of this process; a hard one that is lower already stays.
/// Async-signal-safe.
pub fn lower_limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writing.
    check(unsafe { libc::getrlimit(resource, &mut limit) })?;
    let hard = (hard as libc::rlim_t).min(limit.rlim_max);
    limit = libc::rlimit { rlim_cur: (soft as libc::rlim_t).min(hard), rlim_max: hard };
    // SAFETY: `limit` is valid for reading.
    check(unsafe { libc::setrlimit(resource, &limit) })
}

/// User id that counts for permissions.
pub fn effective_uid() -> u32 {
    // SAFETY: takes and touches nothing.
    unsafe { libc::geteuid() }
}

/// Whether this process may create files in a directory; false too if there is none.
pub fn may_write(directory: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(directory.as_os_str().as_bytes()) else { return false };
    // SAFETY: a valid C string.
    unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
}

/// User id, and process id where the kernel tells, of the other end of a connected Unix socket.
#[cfg(target_os = "linux")]
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<(u32, Option<u32>)> {
    let mut cred = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `cred` and `len` are valid for writing, and `len` is the size of `cred`.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &mut len,
        )
    })?;
    Ok((cred.uid, u32::try_from(cred.pid).ok().filter(|pid| *pid > 0)))
}

/// User id, and process id where the kernel tells, of the other end of a connected Unix socket.
#[cfg(not(target_os = "linux"))]
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<(u32, Option<u32>)> {
    let (mut uid, mut gid) = (u32::MAX, u32::MAX);
    // SAFETY: both numbers are valid for writing.
    check(unsafe { libc::getpeereid(socket.as_raw_fd(), &mut uid, &mut gid) })?;
    Ok((uid, None))
}

/// Sends what a socket takes now, whether it blocks or not.
///
/// # Errors
/// `WouldBlock` if it takes nothing; `BrokenPipe` if nobody reads.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: `bytes` is valid for reading so many bytes.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Takes what a socket has now, whether it blocks or not.
///
/// # Errors
/// `WouldBlock` if it has nothing.
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `buf` is valid for writing so many bytes.
    let got =
        unsafe { libc::recv(socket.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), libc::MSG_DONTWAIT) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// A read or write that would wait gives `WouldBlock` instead.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open; plain numbers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    check(flags)?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })
}

/// Sets the capacity of a pipe in bytes (Linux).
///
/// # Errors
/// EPERM past the user's share of pipe memory.
pub fn set_pipe_capacity(pipe: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: the descriptor is open; plain numbers.
    check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) })?;
    let _ = (pipe, bytes);
    Ok(())
}

/// Has the kernel look every half minute whether the other end of a TCP connection still exists.
pub fn keep_alive(socket: BorrowedFd<'_>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    let idle = libc::TCP_KEEPIDLE;
    #[cfg(not(target_os = "linux"))]
    let idle = libc::TCP_KEEPALIVE;
    let options = [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::IPPROTO_TCP, idle, 30),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 10),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3),
    ];
    for (level, name, value) in options {
        let value: i32 = value;
        let len = size_of::<i32>() as libc::socklen_t;
        // SAFETY: `value` is valid for reading, and `len` is its size.
        check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) })?;
    }
    Ok(())
}

/// Sets the send buffer of a socket in bytes; the kernel doubles it and holds it below its maximum.
pub fn set_send_buffer(socket: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `bytes` is valid for reading, and `len` is its size.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            (&raw const bytes).cast(),
            len,
        )
    })
}

/// A new Unix stream socket: close-on-exec, non-blocking.
pub fn unix_socket() -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    let flags = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    #[cfg(not(target_os = "linux"))]
    let flags = libc::SOCK_STREAM;
    // SAFETY: plain numbers; the result is checked before it is owned.
    let fd = unsafe { libc::socket(libc::AF_UNIX, flags, 0) };
    check(fd)?;
    // SAFETY: the kernel just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    #[cfg(not(target_os = "linux"))]
    {
        use std::os::fd::AsFd;
        // SAFETY: the descriptor is open; plain numbers.
        check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        set_nonblocking(socket.as_fd())?;
    }
    Ok(socket)
}

/// The address of a Unix socket at `path`.
///
/// # Errors
/// A path with a NUL, or longer than the kernel takes (107 bytes on Linux, 103 elsewhere).
fn unix_address(path: &std::path::Path) -> io::Result<libc::sockaddr_un> {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: sockaddr_un is plain data, for which zeroes are a value.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file name"));
    }
    if bytes.len() >= address.sun_path.len() {
        let text = format!(
            "a path of {} bytes, and the kernel takes at most {} for a socket",
            bytes.len(),
            address.sun_path.len() - 1
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok(address)
}

/// Binds `socket` to a new file at `path` with mode 0600 from its birth, and listens.
///
/// # Errors
/// EADDRINUSE if there is a file at `path` already; a bad path as `unix_address` says.
pub fn bind_private(socket: BorrowedFd<'_>, path: &std::path::Path) -> io::Result<()> {
    let address = unix_address(path)?;
    let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // Linux gives the file the mode of the socket, less the umask. A change of the umask would do on
    // all systems, but for all threads.
    #[cfg(target_os = "linux")]
    // SAFETY: the descriptor is open; plain numbers.
    check(unsafe { libc::fchmod(socket.as_raw_fd(), 0o600) })?;
    #[cfg(not(target_os = "linux"))]
    // SAFETY: plain numbers.
    let umask = unsafe { libc::umask(0o177) };
    // SAFETY: `address` is valid for reading, and `len` is its size.
    let bound = check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) });
    #[cfg(not(target_os = "linux"))]
    // SAFETY: plain numbers.
    unsafe {
        libc::umask(umask)
    };
    bound?;
    // SAFETY: the descriptor is open; the kernel lowers the number to its own maximum.
    check(unsafe { libc::listen(socket.as_raw_fd(), 4096) })
}

/// Connects `socket` to the listener at `path`; if `socket` is non-blocking, without waiting for room.
///
/// # Errors
/// ENOENT, ECONNREFUSED if nobody listens, EAGAIN if the listener's queue is full; a bad path as
/// `unix_address` says.
pub fn connect(socket: BorrowedFd<'_>, path: &std::path::Path) -> io::Result<()> {
    let address = unix_address(path)?;
    let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: `address` is valid for reading, and `len` is its size.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) })
}

/// Takes the exclusive lock of an open file without waiting; it ends with the open file.
///
/// # Errors
/// `WouldBlock` if somebody else has it.
pub fn lock(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open; plain numbers.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })
}

/// Puts a file in the place of another open one, which is closed: standard streams only.
///
/// # Errors
/// From the kernel.
pub fn replace(standard: i32, file: BorrowedFd<'_>) -> io::Result<()> {
    debug_assert!((0..=2).contains(&standard), "nobody owns these three");
    // SAFETY: `file` is open, and the other one is nobody's (see above).
    check(unsafe { libc::dup2(file.as_raw_fd(), standard) })
}

/// Random bytes of the kernel.
///
/// # Errors
/// None are known on a kernel that has the call (Linux 3.17, macOS 10.12).
pub fn random(bytes: &mut [u8]) -> io::Result<()> {
    // 256 at once are filled whole, or not at all.
    for part in bytes.chunks_mut(256) {
        loop {
            #[cfg(target_os = "linux")]
            // SAFETY: `part` is valid for writing so many bytes.
            let done = unsafe { libc::getrandom(part.as_mut_ptr().cast(), part.len(), 0) } as i32;
            #[cfg(not(target_os = "linux"))]
            // SAFETY: `part` is valid for writing so many bytes.
            let done = unsafe { libc::getentropy(part.as_mut_ptr().cast(), part.len()) };
            match check(done) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        }
    }
    Ok(())
}

/// A descriptor that this process was started with, from now on close-on-exec; `None` if it is not open, or
/// was opened here.
pub fn inherited(fd: i32) -> Option<OwnedFd> {
    if fd < 3 {
        return None;
    }
    // SAFETY: plain numbers; fcntl(2) touches no memory of ours.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return None;
    }
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) }).ok()?;
    // SAFETY: it is open. Everything opened in this program is close-on-exec from its birth, and this was
    // not, so it came through exec and nobody here owns it; the flag keeps a second call from owning it too.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether connections to this socket are accepted.
pub fn is_listening(socket: BorrowedFd<'_>) -> bool {
    let mut listening: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `listening` and `len` are valid for writing, and `len` is the size of `listening`.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            (&raw mut listening).cast(),
            &mut len,
        )
    };
    asked == 0 && listening != 0
}

/// The sockets that launchd opened under a name of the plist's `Sockets`; empty if there are none, or if
/// launchd did not start this process.
///
/// # Errors
/// Whatever else launchd answers (EALREADY: they were taken before).
#[cfg(target_os = "macos")]
pub fn launchd_sockets(name: &str) -> io::Result<Vec<OwnedFd>> {
    unsafe extern "C" {
        fn launch_activate_socket(
            name: *const libc::c_char,
            fds: *mut *mut libc::c_int,
            count: *mut libc::size_t,
        ) -> libc::c_int;
    }
    let name = std::ffi::CString::new(name)?;
    let (mut fds, mut count) = (std::ptr::null_mut(), 0);
    // SAFETY: a valid C string, and two places that are valid for writing.
    match unsafe { launch_activate_socket(name.as_ptr(), &mut fds, &mut count) } {
        0 => {}
        libc::ENOENT | libc::ESRCH => return Ok(Vec::new()),
        code => return Err(io::Error::from_raw_os_error(code)),
    }
    let mut sockets = Vec::with_capacity(count);
    for at in 0..count {
        // SAFETY: launchd gave `count` descriptors at `fds`, each open and handed over to the caller.
        let socket = unsafe { OwnedFd::from_raw_fd(*fds.add(at)) };
        // SAFETY: the descriptor is open; plain numbers.
        check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        sockets.push(socket);
    }
    // SAFETY: launchd allocated it for the caller to free, and nothing points into it any more.
    unsafe { libc::free(fds.cast()) };
    Ok(sockets)
}

/// The sockets that launchd opened: there is no launchd here.
///
/// # Errors
/// None.
#[cfg(not(target_os = "macos"))]
pub fn launchd_sockets(_name: &str) -> io::Result<Vec<OwnedFd>> {
    Ok(Vec::new())
}

/// Microseconds of the clock that never goes back.
pub fn monotonic_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writing. The clock exists, so the call does not fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
