//! Two servers offer tools, or prompts, of the same name (H02). That happens with plain names only, and with
//! a tool that was given the name of another.
//!
//! Which server is up, slow or first must not decide whose tool a call reaches. So a name of two is nobody's:
//! neither is listed, a call of it is refused with the names of both owners and with what can be done, until
//! one of them does not have it any more. Where the clash is known before the start, there is no start.

use crate::codec::List;
use std::fmt;

/// What two servers both have. Resources are had by both all the same, see [`super::catalogue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    pub list: List,
    /// As it would be offered.
    pub name: String,
    /// The first two, in the order of the servers.
    pub owners: [Owner; 2],
}

/// Whose it is: the server's key, and the name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub key: String,
    pub own: String,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Clash { list, name, owners: [one, other] } = self;
        let (what, plural) = if *list == List::Tools { ("tool", "tools") } else { ("prompt", "prompts") };
        let (key, own) = (bare(&other.key), bare(&other.own));
        let deny =
            format!("leave it out at one of them, as in [servers.{key}] {plural}.deny = [{:?}]", other.own);
        if one.key == other.key {
            let (first, second) = (&one.own, &other.own);
            return write!(
                f,
                "server '{}' has two {plural} to offer as '{name}', '{first}' and '{second}', so neither is \
                 offered; either give one another name, as in [servers.{key}.tool.{own}] name = \"…\", or {deny}",
                one.key
            );
        }
        write!(f, "{what} '{name}' is of server '{}' and of server '{}', ", one.key, other.key)?;
        write!(
            f,
            "so that with names = \"plain\" it is of neither; either set [gateway] names = \"prefix\", or "
        )?;
        match list {
            List::Tools => {
                let new = format!("{}_{}", other.key, other.own);
                write!(f, "give one another name, as in [servers.{key}.tool.{own}] name = {new:?}, or {deny}")
            }
            _ => write!(f, "{deny}, or take one server out, as in [servers.{key}] gateway = false"),
        }
    }
}

/// A key as TOML has it.
fn bare(key: &str) -> String {
    let is_bare = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
    if !key.is_empty() && key.chars().all(is_bare) { key.into() } else { format!("{key:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clash(list: List, owners: [(&str, &str); 2]) -> String {
        let owners = owners.map(|(key, own)| Owner { key: key.into(), own: own.into() });
        Clash { list, name: "read".into(), owners }.to_string()
    }

    #[test]
    fn both_owners_and_three_cures_are_named() {
        let text = clash(List::Tools, [("files", "read"), ("wiki", "read")]);
        for part in [
            "'files'",
            "'wiki'",
            "[gateway] names = \"prefix\"",
            "[servers.wiki.tool.read] name = \"wiki_read\"",
            "[servers.wiki] tools.deny = [\"read\"]",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = clash(List::Prompts, [("files", "read"), ("wi.ki", "read")]);
        for part in ["names = \"prefix\"", "prompts.deny = [\"read\"]", "[servers.\"wi.ki\"] gateway = false"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = clash(List::Tools, [("files", "get"), ("files", "read")]);
        assert!(text.contains("'get' and 'read'") && !text.contains("prefix"), "{text}");
    }
}
