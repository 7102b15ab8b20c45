//! Disks that remember: an NBD server that keeps every write and every flush in the order in which they came, of all
//! disks in one list. What a power cut leaves is worked out afterwards, from that list.

#![allow(clippy::as_conversions, reason = "lengths and offsets of NBD, all below 2^32")]

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What a guest did to a disk.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Write { disk: usize, offset: usize, octets: Vec<u8> },
    Flush { disk: usize },
}

/// All disks of a guest, and what was done to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disks(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    disks: Vec<Vec<u8>>,
    events: Vec<Event>,
}

const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
/// Has flags, takes flushes; no "force unit access": a guest that wants it flushes instead.
const FLAGS: u16 = 0b101;

impl Disks {
    /// Serves disks, under their numbers, to one client each.
    pub(crate) fn serve(disks: Vec<Vec<u8>>, socket: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let count = disks.len();
        let served = Self(Arc::new(Mutex::new(Contents { disks, events: Vec::new() })));
        let all = served.clone();
        std::thread::spawn(move || {
            for _ in 0..count {
                let Ok((client, _)) = listener.accept() else { return };
                let disks = all.clone();
                // a client that goes away is a guest that has ended
                std::thread::spawn(move || drop(disks.talk(client)));
            }
        });
        Ok(served)
    }

    /// What was done so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().events.clone()
    }

    /// What is on a disk, flushed or not.
    pub(crate) fn image(&self, disk: usize) -> Vec<u8> {
        self.0.lock().unwrap().disks[disk].clone()
    }

    fn talk(&self, mut client: UnixStream) -> io::Result<()> {
        if let Some(disk) = self.negotiate(&mut client)? {
            while self.answer(&mut client, disk)? {}
        }
        Ok(())
    }

    /// Fixed newstyle, by NBD_OPT_GO.
    fn negotiate(&self, client: &mut UnixStream) -> io::Result<Option<usize>> {
        client.write_all(b"NBDMAGIC")?;
        client.write_all(OPTION_MAGIC)?;
        client.write_all(&0b11_u16.to_be_bytes())?;
        let _flags: [u8; 4] = take(client)?;
        loop {
            let magic: [u8; 8] = take(client)?;
            assert_eq!(&magic, OPTION_MAGIC);
            let option = u32::from_be_bytes(take(client)?);
            let mut data = vec![0; u32::from_be_bytes(take(client)?) as usize];
            client.read_exact(&mut data)?;
            let reply = |kind: u32, data: &[u8]| {
                let mut reply = REPLY_MAGIC.to_be_bytes().to_vec();
                reply.extend([option, kind, data.len() as u32].map(u32::to_be_bytes).concat());
                reply.extend(data);
                reply
            };
            match option {
                // go
                7 => {
                    let length = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
                    let name = String::from_utf8_lossy(&data[4..4 + length]).into_owned();
                    let disk: usize = name.parse().unwrap();
                    let size = self.image(disk).len() as u64;
                    let mut about = 0_u16.to_be_bytes().to_vec();
                    about.extend(size.to_be_bytes());
                    about.extend(FLAGS.to_be_bytes());
                    client.write_all(&reply(3, &about))?;
                    client.write_all(&reply(1, b""))?;
                    return Ok(Some(disk));
                }
                // abort
                2 => return client.write_all(&reply(1, b"")).map(|()| None),
                _ => client.write_all(&reply(0x8000_0001, b""))?,
            }
        }
    }

    /// One request. It is in the list before it is answered.
    fn answer(&self, client: &mut UnixStream, disk: usize) -> io::Result<bool> {
        assert_eq!(u32::from_be_bytes(take(client)?), REQUEST);
        let _flags: [u8; 2] = take(client)?;
        let kind = u16::from_be_bytes(take(client)?);
        let handle: [u8; 8] = take(client)?;
        let offset = u64::from_be_bytes(take(client)?) as usize;
        let length = u32::from_be_bytes(take(client)?) as usize;
        let mut reply = [REPLY, 0].map(u32::to_be_bytes).concat();
        reply.extend(handle);
        match kind {
            // read
            0 => {
                let contents = self.0.lock().unwrap();
                reply.extend(&contents.disks[disk][offset..offset + length]);
            }
            // write
            1 => {
                let mut octets = vec![0; length];
                client.read_exact(&mut octets)?;
                let mut contents = self.0.lock().unwrap();
                contents.disks[disk][offset..offset + length].copy_from_slice(&octets);
                contents.events.push(Event::Write { disk, offset, octets });
            }
            // disconnect
            2 => return Ok(false),
            // flush
            3 => self.0.lock().unwrap().events.push(Event::Flush { disk }),
            _ => panic!("a request that was not offered: {kind}"),
        }
        client.write_all(&reply).map(|()| true)
    }
}

fn take<const N: usize>(client: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    client.read_exact(&mut octets).map(|()| octets)
}
