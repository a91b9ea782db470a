//! [`Method`] and [`Level`]: the names of protocol.md §2 as enums.

use crate::codec::List;

/// A method muxloop treats specially, or [`Method::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    // Client → server requests (protocol.md §2.2).
    Initialize,
    Discover,
    Ping,
    List(List),
    ToolsCall,
    PromptsGet,
    ResourcesRead,
    Complete,
    Subscribe,
    Unsubscribe,
    SetLevel,
    Listen,
    TasksGet,
    TasksResult,
    TasksCancel,
    TasksUpdate,
    TasksList,
    // Server → client requests (§2.4).
    Sampling,
    Elicit,
    RootsList,
    // Notifications (§2.3, §2.5).
    Initialized,
    Cancelled,
    Progress,
    RootsChanged,
    LogMessage,
    ListChanged(ListKind),
    ResourceUpdated,
    Acknowledged,
    ElicitComplete,
    TaskStatus,
    Other,
}

/// The lists a server can declare as changed; resource templates count as resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ListKind {
    Tools,
    Prompts,
    Resources,
}

impl ListKind {
    /// What is announced when a list changes.
    pub(super) fn of(list: List) -> ListKind {
        match list {
            List::Tools => ListKind::Tools,
            List::Prompts => ListKind::Prompts,
            List::Resources | List::Templates => ListKind::Resources,
        }
    }

    pub(super) const ALL: [ListKind; 3] = [ListKind::Tools, ListKind::Prompts, ListKind::Resources];

    pub(super) fn name(self) -> &'static str {
        match self {
            ListKind::Tools => "tools",
            ListKind::Prompts => "prompts",
            ListKind::Resources => "resources",
        }
    }

    pub(super) fn listen_key(self) -> &'static str {
        match self {
            ListKind::Tools => "toolsListChanged",
            ListKind::Prompts => "promptsListChanged",
            ListKind::Resources => "resourcesListChanged",
        }
    }
}

impl Method {
    pub(super) fn parse(name: &[u8]) -> Method {
        match name {
            b"initialize" => Method::Initialize,
            b"server/discover" => Method::Discover,
            b"ping" => Method::Ping,
            b"tools/list" => Method::List(List::Tools),
            b"prompts/list" => Method::List(List::Prompts),
            b"resources/list" => Method::List(List::Resources),
            b"resources/templates/list" => Method::List(List::Templates),
            b"tools/call" => Method::ToolsCall,
            b"prompts/get" => Method::PromptsGet,
            b"resources/read" => Method::ResourcesRead,
            b"completion/complete" => Method::Complete,
            b"resources/subscribe" => Method::Subscribe,
            b"resources/unsubscribe" => Method::Unsubscribe,
            b"logging/setLevel" => Method::SetLevel,
            b"subscriptions/listen" => Method::Listen,
            b"tasks/get" => Method::TasksGet,
            b"tasks/result" => Method::TasksResult,
            b"tasks/cancel" => Method::TasksCancel,
            b"tasks/update" => Method::TasksUpdate,
            b"tasks/list" => Method::TasksList,
            b"sampling/createMessage" => Method::Sampling,
            b"elicitation/create" => Method::Elicit,
            b"roots/list" => Method::RootsList,
            b"notifications/initialized" => Method::Initialized,
            b"notifications/cancelled" => Method::Cancelled,
            b"notifications/progress" => Method::Progress,
            b"notifications/roots/list_changed" => Method::RootsChanged,
            b"notifications/message" => Method::LogMessage,
            b"notifications/tools/list_changed" => Method::ListChanged(ListKind::Tools),
            b"notifications/prompts/list_changed" => Method::ListChanged(ListKind::Prompts),
            b"notifications/resources/list_changed" => Method::ListChanged(ListKind::Resources),
            b"notifications/resources/updated" => Method::ResourceUpdated,
            b"notifications/subscriptions/acknowledged" => Method::Acknowledged,
            b"notifications/elicitation/complete" => Method::ElicitComplete,
            b"notifications/tasks/status" | b"notifications/tasks" => Method::TaskStatus,
            _ => Method::Other,
        }
    }

    /// The name of a client's request, for people; `other` for one that muxloop has no rule for.
    pub(super) fn text(self) -> &'static str {
        match self {
            Method::Initialize => "initialize",
            Method::Discover => "server/discover",
            Method::Ping => "ping",
            Method::List(list) => list.method(),
            Method::ToolsCall => "tools/call",
            Method::PromptsGet => "prompts/get",
            Method::ResourcesRead => "resources/read",
            Method::Complete => "completion/complete",
            Method::Subscribe => "resources/subscribe",
            Method::Unsubscribe => "resources/unsubscribe",
            Method::SetLevel => "logging/setLevel",
            Method::Listen => "subscriptions/listen",
            Method::TasksGet => "tasks/get",
            Method::TasksResult => "tasks/result",
            Method::TasksCancel => "tasks/cancel",
            Method::TasksUpdate => "tasks/update",
            Method::TasksList => "tasks/list",
            _ => "other",
        }
    }

    /// Whether a server may ask the client something while it serves this (protocol.md §2.6).
    pub(super) fn is_interactive(self) -> bool {
        matches!(self, Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead | Method::Complete)
    }

    /// Whether its answer can be a question to the client in 2026-07-28 (protocol.md §1.2.6).
    pub(super) fn may_ask_by_answer(self) -> bool {
        matches!(self, Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead)
    }

    /// Whether muxloop answers it itself, once it knows what the child can do.
    pub(super) fn is_answered_here(self) -> bool {
        matches!(
            self,
            Method::Initialize
                | Method::Discover
                | Method::SetLevel
                | Method::Subscribe
                | Method::Unsubscribe
        )
    }

    /// Whether its answer may be known while the child is down, or without asking it.
    pub(super) fn may_be_known(self) -> bool {
        matches!(self, Method::List(_) | Method::Initialize | Method::Discover | Method::SetLevel)
    }

    /// Whether 2026-07-28 removed it: a modern request for it is answered -32601 (P41).
    pub(super) fn is_removed_in_modern(self) -> bool {
        matches!(
            self,
            Method::Initialize
                | Method::Ping
                | Method::SetLevel
                | Method::Subscribe
                | Method::Unsubscribe
                | Method::TasksResult
                | Method::TasksList
        )
    }
}

/// RFC 5424 severities, the most verbose first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Level {
    /// What a legacy client gets that never asked (protocol.md §2.7).
    pub(super) const DEFAULT: Level = Level::Info;

    const NAMES: [(&'static str, Level); 8] = [
        ("debug", Level::Debug),
        ("info", Level::Info),
        ("notice", Level::Notice),
        ("warning", Level::Warning),
        ("error", Level::Error),
        ("critical", Level::Critical),
        ("alert", Level::Alert),
        ("emergency", Level::Emergency),
    ];

    /// Reads a JSON string token.
    pub(super) fn parse(token: &[u8]) -> Option<Level> {
        let name = token.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Level::NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, level)| *level)
    }

    pub(super) fn name(self) -> &'static str {
        Level::NAMES[self as usize].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_named() {
        for (name, level) in Level::NAMES {
            assert_eq!(level.name(), name);
            assert_eq!(Level::parse(format!("\"{name}\"").as_bytes()), Some(level));
        }
        assert!(Level::Debug < Level::Emergency);
        assert_eq!(Level::parse(b"\"loud\""), None);
        assert_eq!(Level::parse(b"3"), None);
    }
}
