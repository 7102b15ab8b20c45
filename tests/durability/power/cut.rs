//! What a power cut leaves on a disk, at each point of a list of writes and flushes.

use super::disk::Event;
use super::{NOTES, STATE};

/// What the disk makes of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushes {
    /// All writes before it are durable.
    Honest,
    /// None is: a disk that lies. For the control.
    Ignored,
}

/// One power cut: which writes are on the disk, and what the world had seen by then.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// The number of events before it.
    pub(crate) at: usize,
    /// The writes that are on the disk, in order.
    writes: Vec<Write>,
    /// Whether nothing but flushed writes is on it.
    pub(crate) flushed_only: bool,
    /// The notes that the guest had written.
    pub(crate) notes: Vec<String>,
}

/// A part of the write that is event `event`.
#[derive(Clone, Copy, Debug)]
struct Write {
    event: usize,
    begin: usize,
    end: usize,
}

/// Disks write whole sectors.
const SECTOR: usize = 512;

/// All cuts after the note `after`. What was flushed changes at flushes alone, so one cut before each stands for all
/// since the one before: by then the world has seen most. With some of what was not flushed, there are `times` cuts
/// after each write and each note.
pub(crate) fn cuts(events: &[Event], after: &str, times: usize, flushes: Flushes) -> Vec<Cut> {
    let (mut durable, mut pending): (Vec<Write>, Vec<Write>) = (Vec::new(), Vec::new());
    let (mut seen, mut cuts): (Vec<String>, Vec<Cut>) = (Vec::new(), Vec::new());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut begun = false;
    for (n, event) in events.iter().enumerate() {
        match event {
            Event::Write { disk: NOTES, octets, .. } => {
                seen.push(text(octets));
                begun |= seen.last().is_some_and(|note| note == after);
            }
            Event::Write { octets, .. } => {
                pending.push(Write { event: n, begin: 0, end: octets.len() });
            }
            Event::Flush { disk: NOTES } => continue,
            // before the first cut all is as it should be
            Event::Flush { .. } if begun && flushes == Flushes::Ignored => continue,
            Event::Flush { .. } => {
                if begun && !pending.is_empty() {
                    let (writes, notes) = (durable.clone(), seen.clone());
                    cuts.push(Cut { at: n, writes, flushed_only: true, notes });
                }
                durable.append(&mut pending);
                continue;
            }
        }
        let rounds = if begun && !pending.is_empty() { times } else { 0 };
        for round in 0..rounds {
            let mut writes = durable.clone();
            writes.extend(random.some_of(&pending, (n + round) % 2 == 1));
            cuts.push(Cut { at: n + 1, writes, flushed_only: false, notes: seen.clone() });
        }
    }
    cuts.push(Cut { at: events.len(), writes: durable, flushed_only: true, notes: seen });
    cuts
}

/// The notes of a run.
pub(crate) fn notes(events: &[Event]) -> Vec<String> {
    let note = |event: &Event| match event {
        Event::Write { disk: NOTES, octets, .. } => Some(text(octets)),
        Event::Write { .. } | Event::Flush { .. } => None,
    };
    events.iter().filter_map(note).collect()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).trim_end_matches('\0').trim_end().to_owned()
}

impl Cut {
    /// The disk, as it was before all events, after this cut.
    pub(crate) fn image(&self, before: &[u8], events: &[Event]) -> Vec<u8> {
        let mut image = before.to_vec();
        for write in &self.writes {
            if let Event::Write { disk: STATE, offset, octets } = &events[write.event] {
                image[offset + write.begin..offset + write.end]
                    .copy_from_slice(&octets[write.begin..write.end]);
            }
        }
        image
    }
}

/// xorshift: the same cuts each time.
struct Random(u64);

impl Random {
    fn coin(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & (1 << 40) != 0
    }

    /// Each write with even odds, whole or torn between sectors.
    fn some_of(&mut self, writes: &[Write], torn: bool) -> Vec<Write> {
        let mut some = Vec::new();
        for write in writes {
            let step = if torn { SECTOR } else { write.end.max(1) };
            for begin in (write.begin..write.end).step_by(step) {
                if self.coin() {
                    some.push(Write { begin, end: write.end.min(begin + step), ..*write });
                }
            }
        }
        some
    }
}
