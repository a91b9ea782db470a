//! Buffers for connections, kept while they are empty: an idle connection holds none.

use crate::base::limits::READ_CHUNK;

/// Takes the buffer out of a pool that has room for `size` bytes with the least to spare, or the largest.
pub(super) fn take_buffer<T>(pool: &mut Vec<T>, size: usize, capacity: impl Fn(&T) -> usize) -> Option<T> {
    let fitting =
        pool.iter().enumerate().filter(|(_, buf)| capacity(buf) >= size).min_by_key(|(_, buf)| capacity(buf));
    match fitting {
        Some((at, _)) => Some(pool.swap_remove(at)),
        None => pool.pop(),
    }
}

/// Takes the largest buffer of a pool, if it has room for `size` bytes.
pub(super) fn take_larger<T>(pool: &mut Vec<T>, size: usize, capacity: impl Fn(&T) -> usize) -> Option<T> {
    let (at, largest) = pool.iter().enumerate().max_by_key(|(_, buf)| capacity(buf))?;
    (capacity(largest) >= size).then(|| pool.swap_remove(at))
}

/// Keeps an empty buffer for reuse, a few large ones at most. Whether it was large.
pub(super) fn keep_buffer<T>(pool: &mut Vec<T>, buf: T, capacity: impl Fn(&T) -> usize) -> bool {
    let size = capacity(&buf);
    let large = pool.iter().filter(|buf| capacity(buf) > SMALL_MAX).count();
    if size == 0 || pool.len() >= POOL_MAX || size > LARGE_MAX || (size > SMALL_MAX && large >= LARGE_BUFFERS)
    {
        return false;
    }
    pool.push(buf);
    size > SMALL_MAX
}

/// Largest buffer that is kept for good, in bytes.
pub(super) const SMALL_MAX: usize = 2 * READ_CHUNK;
/// Largest buffer kept until `trim`, in bytes.
const LARGE_MAX: usize = 32 << 20;
/// Most of those, each way.
const LARGE_BUFFERS: usize = 4;
/// Most buffers kept for reuse, each way.
const POOL_MAX: usize = 8;
