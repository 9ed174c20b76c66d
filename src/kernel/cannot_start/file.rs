//! What kind of program a file is, by its first bytes: why the kernel does not execute it.

/// The beginning of a file, which shows its type.
pub(super) const HEAD: u64 = 4096;

/// A file that is to be executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum File {
    /// It names the program that reads it.
    Script {
        interpreter: String,
    },
    Elf {
        machine: u64,
        /// The dynamic loader that it names.
        loader: Option<String>,
    },
    Other,
}

impl File {
    pub(super) fn of(head: &[u8]) -> Self {
        if let Some(line) = head.strip_prefix(b"#!") {
            // The kernel takes blanks and tabs only: a CR belongs to the name (execve(2)).
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
            let mut words = line.split(blank).filter(|word| !word.is_empty());
            let word = words.next().unwrap_or_default();
            let interpreter = String::from_utf8_lossy(word).into_owned();
            return Self::Script { interpreter };
        }
        elf(head).unwrap_or(Self::Other)
    }
}

/// What an ELF header says (elf(5)).
fn elf(head: &[u8]) -> Option<File> {
    head.starts_with(b"\x7fELF").then_some(())?;
    let little = head.get(5) == Some(&1);
    let number = |at: u64, size: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = head.get(at..at.checked_add(size)?)?;
        let shift = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if little {
            bytes.iter().rev().fold(0, shift)
        } else {
            bytes.iter().fold(0, shift)
        })
    };
    // Class, then where the table of program headers is, the size and the number of its entries, and
    // in each entry where its part of the file is and how long.
    let is_64 = head.get(4) == Some(&2);
    let (word, table, size, count, place, length) = if is_64 {
        (8, 32, 54, 56, 8, 32)
    } else {
        (4, 28, 42, 44, 4, 16)
    };
    let loader = || {
        let (table, size) = (number(table, word)?, number(size, 2)?);
        let entries = (0..number(count, 2)?).map(|index| table.saturating_add(index * size));
        let is_loader = |entry: &u64| number(*entry, 4) == Some(PT_INTERP);
        let entry = entries.into_iter().find(is_loader)?;
        let start = usize::try_from(number(entry.saturating_add(place), word)?).ok()?;
        let length = usize::try_from(number(entry.saturating_add(length), word)?).ok()?;
        let name = head.get(start..start.checked_add(length)?)?;
        let name = name.strip_suffix(b"\0").unwrap_or(name);
        Some(String::from_utf8_lossy(name).into_owned())
    };
    Some(File::Elf {
        machine: number(18, 2)?,
        loader: loader(),
    })
}

const PT_INTERP: u64 = 3;

/// A machine as images name it (GOARCH).
pub(super) fn machine_name(machine: u64) -> Option<&'static str> {
    const NAMES: [(u64, &str); 9] = [
        (3, "386"),
        (8, "mips"),
        (20, "ppc"),
        (21, "ppc64"),
        (22, "s390x"),
        (40, "arm"),
        (62, "amd64"),
        (183, "arm64"),
        (243, "riscv64"),
    ];
    let found = NAMES.iter().find(|(number, _)| *number == machine);
    found.map(|(_, name)| *name)
}

/// The machine that this program was built for, as images name it.
pub(super) fn own_machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_interpreter() {
        for (head, interpreter) in [
            (&b"#!/bin/sh\nexit"[..], "/bin/sh"),
            (b"#! /usr/bin/env  python3\n", "/usr/bin/env"),
            (b"#!/bin/sh\r\nexit\r\n", "/bin/sh\r"),
            (b"#!\n", ""),
            (b"#!/bin/bash", "/bin/bash"),
        ] {
            let interpreter = interpreter.to_owned();
            assert_eq!(File::of(head), File::Script { interpreter });
        }
    }

    #[test]
    fn a_program_names_its_machine_and_loader() {
        let mut head = vec![0; 256];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = 183;
        head[32] = 64;
        head[54] = 56;
        head[56] = 2;
        // The second entry is the loader's.
        head[64 + 56] = 3;
        head[64 + 56 + 8] = 200;
        head[64 + 56 + 32] = 7;
        head[200..207].copy_from_slice(b"/ld.so\0");
        let loader = Some("/ld.so".to_owned());
        let machine = 183;
        assert_eq!(File::of(&head), File::Elf { machine, loader });
        assert_eq!(machine_name(machine), Some("arm64"));
        // The end is missing, at whatever byte.
        for length in 0..head.len() {
            File::of(&head[..length]);
        }
        let loader = None;
        assert_eq!(File::of(&head[..150]), File::Elf { machine, loader });
    }

    #[test]
    fn neither_is_neither() {
        for head in [&b""[..], b"echo hi\n", b"\x7fEL", b"MZ\x90\0"] {
            assert_eq!(File::of(head), File::Other);
        }
    }
}
