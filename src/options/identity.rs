//! `--user` and `--group`: numbers as they are, names from /etc/passwd and /etc/group read as files.
//!
//! No NSS: a static binary cannot load its modules, and an image without a shell has no files either,
//! so numbers need none. What a name or number stands for follows `docker run --user` and gosu: a number
//! is always an id; the primary group and the supplementary ones come from the files, unless a group
//! is named, which then stands alone; a number that the files do not have gets group 0; `HOME` is that
//! of the user, or `/`. `USER` is set where the name is known.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;

use crate::plan::Identity;
use crate::sys::credentials::Credentials;
use crate::words::fault::Fault;
use crate::words::suggest;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// What `--user` says; the group may be left to `--group` or to the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct User {
    identity: Identity,
    names_group: bool,
}

/// A file of entries, one a line, fields between colons; any bytes may stand in a comment. As Docker
/// reads them: blanks around a line (a CR) are none of it, and fields at its end may be missing.
pub(super) struct Entries {
    pub(super) path: &'static str,
    pub(super) text: Vec<u8>,
    /// Why it could not be read; that it is not there is no reason.
    pub(super) unreadable: Option<String>,
}

impl Entries {
    fn read(path: &'static str) -> Self {
        let (text, unreadable) = match fs::read(path) {
            Ok(text) => (text, None),
            Err(error) if error.kind() == ErrorKind::NotFound => (Vec::new(), None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Self {
            path,
            text,
            unreadable,
        }
    }

    fn lines(&self) -> impl Iterator<Item = Vec<&[u8]>> {
        self.text
            .split(|byte| *byte == b'\n')
            .map(|line| line.trim_ascii().split(|byte| *byte == b':').collect())
    }

    fn unknown(&self, what: &str, name: &str) -> Fault {
        if let Some(why) = &self.unreadable {
            let fault = Fault::new(format!("{} cannot be read: {why}", self.path));
            return fault.way_out(format!(
                "write the number of the {what}, which needs no file"
            ));
        }
        let fault = Fault::new(format!("{} has no {what} {name:?}", self.path));
        let names: Vec<String> = self
            .lines()
            .filter_map(|fields| Some(String::from_utf8_lossy(fields.first()?).into_owned()))
            .collect();
        match suggest::nearest(name, names.iter().map(String::as_str)) {
            Some(near) => fault.way_out(format!("did you mean {near}?")),
            None => fault.way_out("write its number, which needs no file"),
        }
    }

    /// An id that is none must not pass for one: setresuid(2) takes 2^32-1 for "unchanged".
    fn id(&self, field: &[u8], name: &str) -> Result<u32, Fault> {
        let id = std::str::from_utf8(field).ok().and_then(number);
        id.ok_or_else(|| Fault::new(format!("the entry {name:?} of {} has no id", self.path)))
    }
}

/// Reads `USER[:GROUP]`.
///
/// # Errors
/// A name that the files do not have, or a number that is none.
pub(crate) fn user(text: &str) -> Result<User, Fault> {
    user_in(&Entries::read(PASSWD), &Entries::read(GROUP), text)
}

pub(super) fn user_in(passwd: &Entries, groups: &Entries, text: &str) -> Result<User, Fault> {
    let (name, group_name) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    if name.is_empty() || group_name == Some("") {
        return Err(Fault::new(format!("{text:?} is no user")).way_out("write USER or USER:GROUP"));
    }
    let wanted = id_or_name(name)?;
    let entry = passwd.lines().find_map(|fields| match fields.as_slice() {
        [user, _, uid, gid, more @ ..] if wanted.is(user, uid) => {
            Some((*user, *uid, *gid, more.get(1).copied().unwrap_or_default()))
        }
        _ => None,
    });
    let (uid, primary) = match (entry, wanted) {
        (Some((_, uid, gid, _)), _) => (passwd.id(uid, name)?, passwd.id(gid, name)?),
        (None, Wanted::Id(uid)) => (uid, 0),
        (None, Wanted::Name(_)) => return Err(passwd.unknown("user", name)),
    };
    let named = group_name
        .map(|group| group_in(groups, group))
        .transpose()?;
    let gid = named.unwrap_or(primary);
    let mut all = vec![gid];
    if let (Some((user, ..)), None) = (entry, named) {
        let more = member_of(groups, user).into_iter();
        all.extend(more.filter(|group| *group != gid));
    }
    let home = entry.map_or(&b""[..], |(.., home)| home);
    let home = if home.is_empty() { b"/" } else { home };
    Ok(User {
        identity: Identity {
            uid,
            gid,
            groups: Some(all),
            home: Some(OsStr::from_bytes(home).to_owned()),
            name: entry.map(|(user, ..)| OsStr::from_bytes(user).to_owned()),
        },
        names_group: named.is_some(),
    })
}

#[derive(Clone, Copy)]
enum Wanted<'a> {
    Id(u32),
    Name(&'a str),
}

impl Wanted<'_> {
    fn is(self, name: &[u8], id: &[u8]) -> bool {
        match self {
            Self::Id(wanted) => std::str::from_utf8(id).ok().and_then(number) == Some(wanted),
            Self::Name(wanted) => name == wanted.as_bytes(),
        }
    }
}

fn id_or_name(text: &str) -> Result<Wanted<'_>, Fault> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Wanted::Name(text));
    }
    let out_of_range = || Fault::new(format!("{text} is no id")).way_out("ids end at 4294967294");
    number(text).map(Wanted::Id).ok_or_else(out_of_range)
}

/// Reads a group.
///
/// # Errors
/// A name that /etc/group does not have, or a number that is none.
pub(crate) fn group(text: &str) -> Result<u32, Fault> {
    group_in(&Entries::read(GROUP), text)
}

pub(super) fn group_in(groups: &Entries, text: &str) -> Result<u32, Fault> {
    if text.is_empty() {
        return Err(Fault::new("the group is empty").way_out("write its name or number"));
    }
    let name = match id_or_name(text)? {
        Wanted::Id(gid) => return Ok(gid),
        Wanted::Name(name) => name,
    };
    let found = groups.lines().find_map(|fields| match fields.as_slice() {
        [group, _, gid, ..] if *group == name.as_bytes() => Some(groups.id(gid, name)),
        _ => None,
    });
    found.unwrap_or_else(|| Err(groups.unknown("group", name)))
}

/// 2^32-1 is no id: it means "unchanged" to the kernel (setresuid(2)).
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn member_of(groups: &Entries, user: &[u8]) -> Vec<u32> {
    let listed = |members: &[u8]| members.split(|byte| *byte == b',').any(|one| one == user);
    groups
        .lines()
        .filter_map(|fields| match fields.as_slice() {
            [_, _, gid, members, ..] if listed(members) => {
                std::str::from_utf8(gid).ok().and_then(number)
            }
            _ => None,
        })
        .collect()
}

/// `--user` and `--group` together; a group alone keeps our own user.
///
/// # Errors
/// Both name a group.
pub(crate) fn merge(user: Option<User>, group: Option<u32>) -> Result<Option<Identity>, Fault> {
    let identity = match (user, group) {
        (None, None) => return Ok(None),
        (Some(user), None) => user.identity,
        (Some(user), Some(_)) if user.names_group => {
            let fault = Fault::new("--user names a group already");
            return Err(fault.way_out("leave one of them out"));
        }
        (Some(user), Some(gid)) => {
            let mut identity = user.identity;
            // The group takes the place of the user's own, which would be root's for a mere number.
            let own = std::mem::replace(&mut identity.gid, gid);
            let mut groups = identity.groups.unwrap_or_default();
            groups.retain(|group| ![own, gid].contains(group));
            groups.insert(0, gid);
            identity.groups = Some(groups);
            identity
        }
        (None, Some(gid)) => Identity {
            uid: nix::unistd::geteuid().as_raw(),
            gid,
            groups: Some(vec![gid]),
            home: None,
            name: None,
        },
    };
    Ok(Some(identity))
}

/// What stands in the way of an identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    /// Whether the option that asks too much is `--user`; else it is `--group`.
    pub(crate) user: bool,
    pub(crate) fault: Fault,
}

/// Whether we may become `wanted`; leaves the supplementary groups alone where they are right already, or
/// where nothing else changes either and we may not set them.
///
/// # Errors
/// We may not; known before anything is started, so that nothing is half done.
pub(crate) fn permit(wanted: &mut Identity, own: &Credentials) -> Result<(), Refused> {
    let lacks = |user: bool, what: String, capability: &str| {
        let fault = Fault::new(format!(
            "{what} is not permitted to uid {} without {capability}",
            own.uid()
        ));
        let fault = fault.way_out("start stepdown as root, or leave the option out");
        Err(Refused { user, fault })
    };
    let of_user = wanted.home.is_some();
    if !own.may_set_uid && !own.uids.contains(&wanted.uid) {
        return lacks(true, format!("uid {}", wanted.uid), "CAP_SETUID");
    }
    if !own.may_set_gid && !own.gids.contains(&wanted.gid) {
        let refused = lacks(of_user, format!("gid {}", wanted.gid), "CAP_SETGID");
        // The group of a mere number is root's, which nobody wrote.
        return refused.map_err(|Refused { user, fault }| Refused {
            user,
            fault: if user {
                let named = format!("--user {}:{}", wanted.uid, own.gid());
                fault.way_out(format!(
                    "name a group that is yours, as {named}, or start stepdown as root"
                ))
            } else {
                fault
            },
        });
    }
    let same = |groups: &Vec<u32>| {
        let wanted = [groups.as_slice(), &[wanted.gid]].concat();
        let own = [own.groups.as_slice(), &[own.gid()]].concat();
        let has = |all: &[u32], some: &[u32]| some.iter().all(|gid| all.contains(gid));
        has(&wanted, &own) && has(&own, &wanted)
    };
    let nothing_changes = own.uids == [wanted.uid; 3] && own.gids == [wanted.gid; 3];
    if wanted.groups.as_ref().is_some_and(same) {
        wanted.groups = None;
    } else if !own.may_set_groups {
        if !nothing_changes {
            let what = "setting the supplementary groups".to_owned();
            return lacks(of_user, what, "CAP_SETGID");
        }
        wanted.groups = None;
    }
    Ok(())
}

/// The variables that go with an identity.
pub(crate) fn variables(identity: &Identity) -> Vec<(OsString, OsString)> {
    let home = identity.home.clone().map(|home| ("HOME".into(), home));
    let user = identity.name.clone().map(|name| ("USER".into(), name));
    home.into_iter().chain(user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(path: &'static str, text: &[u8]) -> Entries {
        Entries {
            path,
            text: text.to_vec(),
            unreadable: None,
        }
    }

    fn files() -> (Entries, Entries) {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n\
            # a comment\n\
            app:x:1000:1001:M\xfcller:/home/app:/bin/sh\n\
            1000:x:77:78::/named-by-digits:\n\
            homeless:x:5:5:::\n\
            broken:x::0::/:\n\
            unchanged:x:4294967295:0::/:\n\
            short:x:6:7\n\
            dos:x:8:9::/home/dos\r\n";
        let group = b"root:x:0:\napp:x:1001:\naudio:x:29:other,app\nvideo:x:44:app\nbad:x::app\n\
            \x20tape:x:26:other,dos\r\n";
        (entries(PASSWD, passwd), entries(GROUP, group))
    }

    fn identity(text: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        let (passwd, group) = files();
        let user = user_in(&passwd, &group, text).map_err(|fault| fault.to_string())?;
        let Identity {
            uid,
            gid,
            groups,
            home,
            ..
        } = user.identity;
        let home = home.unwrap().into_string().unwrap();
        Ok((uid, gid, groups.unwrap(), home))
    }

    #[test]
    fn names_and_numbers_as_docker_reads_them() {
        for (text, uid, gid, groups, home) in [
            ("app", 1000, 1001, vec![1001, 29, 44], "/home/app"),
            // A number is an id even where somebody is called that.
            ("1000", 1000, 1001, vec![1001, 29, 44], "/home/app"),
            ("001000", 1000, 1001, vec![1001, 29, 44], "/home/app"),
            ("app:audio", 1000, 29, vec![29], "/home/app"),
            ("app:4711", 1000, 4711, vec![4711], "/home/app"),
            ("4711", 4711, 0, vec![0], "/"),
            ("4711:4712", 4711, 4712, vec![4712], "/"),
            ("homeless", 5, 5, vec![5], "/"),
            // Made by hand in a Dockerfile, or on another system.
            ("short", 6, 7, vec![7], "/"),
            ("dos", 8, 9, vec![9, 26], "/home/dos"),
            ("dos:tape", 8, 26, vec![26], "/home/dos"),
        ] {
            let expected = (uid, gid, groups, home.to_owned());
            assert_eq!(identity(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for (text, part) in [
            ("ap", "did you mean app?"),
            ("nobody-of-that-name", "which needs no file"),
            ("app:audoi", "did you mean audio?"),
            ("broken", "has no id"),
            ("unchanged", "has no id"),
            ("4294967295", "is no id"),
            ("0:4294967296", "is no id"),
            ("-1", "has no user"),
            ("", "is no user"),
            (":app", "is no user"),
            ("app:", "is no user"),
        ] {
            let refused = identity(text).expect_err(text);
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }

    fn nobody() -> Credentials {
        Credentials {
            uids: [1000; 3],
            gids: [1001; 3],
            groups: vec![29, 1001],
            may_set_uid: false,
            may_set_gid: false,
            may_set_groups: false,
        }
    }

    fn wanted(uid: u32, gid: u32, groups: &[u32]) -> Identity {
        Identity {
            uid,
            gid,
            groups: Some(groups.to_vec()),
            home: Some("/".into()),
            name: None,
        }
    }

    #[test]
    fn without_capabilities_one_may_only_stay_who_one_is() {
        let mut same = wanted(1000, 1001, &[1001]);
        assert_eq!(permit(&mut same, &nobody()), Ok(()));
        assert_eq!(same.groups, None, "there is no way to give groups up");
        assert!(permit(&mut wanted(0, 1001, &[1001, 29]), &nobody()).is_err_and(|no| no.user));
        assert!(permit(&mut wanted(1000, 0, &[0]), &nobody()).is_err());
        let mut group_only = wanted(1000, 0, &[0]);
        group_only.home = None;
        assert!(permit(&mut group_only, &nobody()).is_err_and(|no| !no.user));
    }

    #[test]
    fn groups_that_are_right_already_are_not_set() {
        let own = Credentials {
            may_set_uid: true,
            may_set_gid: true,
            ..nobody()
        };
        let mut right = wanted(5, 1001, &[1001, 29]);
        assert_eq!(permit(&mut right, &own), Ok(()));
        assert_eq!(right.groups, None);
        // In a user namespace that denies setgroups(2) others cannot be set.
        assert!(permit(&mut wanted(5, 5, &[5]), &own).is_err());
    }
}
