//! [`Screen`]: the terminal, taken and given back; [`Signals`]: what ends a session from outside.

use super::app::App;
use super::view;
use crossterm::cursor;
use crossterm::terminal::{self, BeginSynchronizedUpdate, EndSynchronizedUpdate};
use crossterm::{execute, queue};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use std::env;
use std::io::{self, Read, Stdout, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The terminal while the dashboard has it. Dropped, or at a panic, it is as it was.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is none; then it is left as it was.
    pub fn open() -> io::Result<Screen> {
        // A release build aborts at a panic without dropping anything, but not before this.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
        terminal::enable_raw_mode()?;
        let taken = execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match taken {
            Ok(terminal) => Ok(Screen { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Writes what changed, as one update where the terminal knows such.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, app: &mut App) -> io::Result<()> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| view::draw(app, frame.area(), frame.buffer_mut()))?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        Write::flush(self.terminal.backend_mut())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// As it was. What fails here has no terminal to fail on.
fn restore() {
    let _ = execute!(io::stdout(), EndSynchronizedUpdate, terminal::LeaveAlternateScreen, cursor::Show);
    let _ = terminal::disable_raw_mode();
}

/// Unless somebody minds (<https://no-color.org>).
pub fn colours() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Signals that end the session, and changes of size and children's ends, as bytes in a pipe.
pub struct Signals {
    pipe: UnixStream,
    /// The last of them that ends the session; 0: none.
    last: Arc<AtomicUsize>,
}

impl Signals {
    /// # Errors
    /// From the kernel.
    pub fn register() -> io::Result<Signals> {
        let (pipe, writer) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let last = Arc::new(AtomicUsize::new(0));
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
            signal_hook::flag::register_usize(signal, Arc::clone(&last), signal as usize)?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        for signal in [libc::SIGCHLD, libc::SIGWINCH] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Signals { pipe, last })
    }

    pub fn descriptor(&self) -> i32 {
        self.pipe.as_raw_fd()
    }

    /// One that ends the session. After any other the screen is drawn again, in its new size.
    pub fn take(&self, app: &mut App) -> Option<i32> {
        let mut bytes = [0; 64];
        while let Ok(n @ 1..) = (&self.pipe).read(&mut bytes) {
            app.touch();
            if n < bytes.len() {
                break;
            }
        }
        match self.last.swap(0, Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as i32),
        }
    }
}
