//! Memory: gives back the pages of code that only the start needed.
//!
//! The kernel maps code in windows of 16 pages around each place that was ever run, and takes none of
//! them out of a process while memory is free. Most of the command line, of the configuration and of
//! TOML is never run again; what is, comes back from the page cache with one fault per window.

/// Takes this program's code out of the resident set. Only a hint: where it can't be had, nothing happens.
pub fn forget_start() {
    #[cfg(target_os = "linux")]
    if let Some((start, len)) = code_mapping() {
        super::sys::forget_code(start, len);
    }
}

/// Address and length of the mapping that this function's code is in.
#[cfg(target_os = "linux")]
fn code_mapping() -> Option<(usize, usize)> {
    let here = forget_start as *const () as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        // Private and not writable, so its pages are as they are in the file.
        ((start..end).contains(&here) && rest.starts_with("r-xp")).then_some((start, end - start))
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn code_that_was_forgotten_still_runs() {
        let (start, len) = code_mapping().expect("a program has code");
        assert!((start..start + len).contains(&(code_mapping as *const () as usize)));
        forget_start();
        assert_eq!(code_mapping(), Some((start, len)));
    }
}
