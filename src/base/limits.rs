//! Every bound of the program in one table, each with its reason and its effect.

/// Longest message a child may send, in bytes. Longer: skipped, the request it answers fails by name.
pub const CHILD_MESSAGE_MAX: usize = 32 << 20;
/// Longest message a client may send unless the server's `max_request_bytes` says otherwise.
pub const CLIENT_MESSAGE_MAX: usize = 1 << 20;
/// Deepest nesting of a JSON message. Deeper: refused with -32700, before any recursion downstream.
pub const DEPTH_MAX: usize = 128;
/// Room made for each read, in bytes: a pipe's default capacity, so that one read empties it.
pub const READ_CHUNK: usize = 64 << 10;
/// Bytes read from one connection in one turn before the next one has its turn.
pub const READ_BUDGET: usize = 256 << 10;
/// Connections accepted from one listener in one turn.
pub const ACCEPT_BUDGET: usize = 64;
/// Longest id or progress token of a client, in bytes, since each is kept until its answer. Longer:
/// refused with -32600 or -32602.
pub const ID_MAX: usize = 4 << 10;
/// Requests of one client at one child at once; more wait in muxloop, so that another client's
/// request stands behind at most so many of theirs (B10).
pub const IN_FLIGHT_PER_CLIENT: usize = 32;
/// Requests of one client that muxloop holds at once, sent or waiting. At the limit the client is not
/// read from until one is answered.
pub const REQUESTS_PER_CLIENT: usize = 256;
/// Bytes of waiting requests per client. Past it the client is not read from until they are sent.
pub const WAITING_BYTES_PER_CLIENT: usize = 1 << 20;
/// Bytes of one client's requests that are kept because they may have to be asked again, and of what is told
/// with them; four longest requests where that is more. Past it a request is not kept, and fails with -32603
/// if its server asks something.
pub const KEPT_BYTES_PER_CLIENT: usize = 4 << 20;
/// Requests of all clients and of muxloop's own at once. Past it a request is refused with -32603; the
/// rest of the table's 65,536 places is for what muxloop cannot do without.
pub const REQUESTS_IN_ALL: usize = 60_000;
/// Subscriptions that are replayed to a restarted child at once; the next follow as it answers.
pub const REPLAYS_AT_ONCE: usize = 64;
/// Unwritten bytes towards a child at which its clients' requests wait in muxloop …
pub const CHILD_SEND_HIGH: usize = 1 << 20;
/// … until so few are left.
pub const CHILD_SEND_LOW: usize = 256 << 10;
/// Unwritten bytes towards a client at which it is closed: waiting for it would stall everyone (P58).
pub const CLIENT_SEND_MAX: usize = 64 << 20;
/// Unwritten bytes towards all HTTP clients together, since each can have many connections. Past it the one
/// that was not read from for longest is closed, among those with at least an equal share of them.
pub const HTTP_SEND_MAX: usize = 256 << 20;
/// Connections at once, clients and children together; the next client is refused.
pub const CONNECTIONS_MAX: usize = 32_000;
/// Resource subscriptions of one client. Past it `resources/subscribe` is refused with -32603.
pub const SUBSCRIPTIONS_PER_CLIENT: usize = 1_024;
/// Open `subscriptions/listen` streams of one client. Past it a listen is refused with -32603.
pub const LISTENS_PER_CLIENT: usize = 64;
/// Tasks remembered per server. Past it the oldest is forgotten (its owner gets -32602).
pub const TASKS_PER_SERVER: usize = 4_096;
/// Elicitations in URL mode remembered per server, for `notifications/elicitation/complete`.
pub const ELICITATIONS_PER_SERVER: usize = 1_024;
/// Requests of a child to clients at once. Past it the child gets -32603.
pub const REVERSE_PER_CHILD: usize = 1_024;
/// Unanswered questions of a legacy child because of one call of a 2026-07-28 client, and their bytes. Past it
/// the child gets -32603.
pub const QUESTIONS_PER_CALL: usize = 64;
/// See [`QUESTIONS_PER_CALL`].
pub const QUESTION_BYTES_PER_CALL: usize = 1 << 20;
/// Calls of one server that wait for their 2026-07-28 clients to ask again with answers. Past it the child
/// gets -32603.
pub const SUSPENDED_PER_SERVER: usize = 256;
/// The same, of all servers.
pub const SUSPENDED_IN_ALL: usize = 4_096;
/// Longest final answer that is kept for such a client, in bytes. Longer: it gets -32603.
pub const KEPT_ANSWER_MAX: usize = 4 << 20;
/// Bytes of all of them together.
pub const KEPT_ANSWERS_IN_ALL: usize = 64 << 20;
/// Bytes of one server's lists that are kept to be given to clients. Past it the oldest page goes.
pub const LIST_BYTES_PER_SERVER: usize = 8 << 20;
/// The same of all servers.
pub const LIST_BYTES_IN_ALL: usize = 64 << 20;
/// Pages of them, of one server.
pub const LIST_PAGES_PER_SERVER: usize = 256;
/// Bytes of a child's standard error that are kept to be shown.
pub const STDERR_RING: usize = 64 << 10;
/// Longest piece of a message that is quoted in a log line or an error.
pub const QUOTE_MAX: usize = 200;
/// Bytes of log lines that wait for a stalled standard error. Past it lines are counted, not kept.
pub const LOG_QUEUE: usize = 256 << 10;
/// Bytes of log lines kept of each server for `muxloop logs`. Past it the oldest go.
pub const JOURNAL_BYTES: usize = 64 << 10;
/// Longest line of a control connection, in bytes. Longer: skipped, answered with -32600.
pub const CONTROL_LINE_MAX: usize = 1 << 20;
/// Control connections at once. The next one gets an error and is closed.
pub const CONTROL_CLIENTS: usize = 32;
/// Unwritten bytes towards a control client at which it misses log lines and taps …
pub const CONTROL_SEND_HIGH: usize = 1 << 20;
/// … and at which it is closed.
pub const CONTROL_SEND_MAX: usize = 4 << 20;
/// Longest message that is shown by a tap, in bytes (longer: its size only), and how much of it is.
pub const TAP_MESSAGE_MAX: usize = 256 << 10;
/// See [`TAP_MESSAGE_MAX`].
pub const TAP_TEXT_MAX: usize = 4 << 10;
