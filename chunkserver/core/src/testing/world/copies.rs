//! Copies between servers, as their shells make them: the checksums first, then block by block.

use gfs_types::Error;
use gfs_types::ids::ServerUid;
use gfs_types::message::data::{DataResponse, Target};

use super::World;
use super::server::{BLOCK, Copy, Owed, ROT, Server, digest};
use crate::{Copied, Input, Job, Peer, ReadOut};

impl Server {
    pub(super) fn begin_copy(&mut self, job: Job, from: Peer, target: Target) {
        let (table, blocks, piece) = (None, Vec::new(), Vec::new());
        self.copy = Some(Copy { job, from, target, table, blocks, copied_bytes: 0, piece });
    }
}

impl World {
    /// The next thing of one copy.
    pub(super) fn copy_on(&mut self) {
        let uid = self.any();
        let server = &self.servers[&uid];
        let Some(copy) = &server.copy else { return };
        let (job, from, target) = (copy.job, copy.from, copy.target);
        let what = match (&copy.table, copy.blocks.last()) {
            (None, _) => ReadOut::Checksums,
            (Some(_), Some(block)) => {
                let (offset, length) = ((block * BLOCK) as u64, BLOCK as u64);
                ReadOut::Bytes { offset, length }
            }
            (Some(_), None) => return self.copy_done(uid),
        };
        if !self.healing && self.random.percent(2) {
            return self.copy_failed(uid, job, Error::unknown("the connection was lost"));
        }
        if !self.is_run(from) {
            return self.copy_failed(uid, job, Error::stale("another run"));
        }
        let token = self.token();
        self.servers.get_mut(&from.chunkserver).unwrap().owed.insert(token, Owed::Copy);
        let session = self.servers[&uid].settings.session;
        let me = Peer { chunkserver: uid, session };
        self.step(from.chunkserver, Input::ReadOut { token, target, from: me, what }, None);
        match self.read_out.remove(&token) {
            Some(bytes) => {
                self.servers.get_mut(&from.chunkserver).unwrap().owed.remove(&token);
                self.came(uid, from.chunkserver, what, &bytes);
            }
            None => {
                let error = self.copy_answers.remove(&token).and_then(Result::err);
                let error = error.unwrap_or_else(|| Error::internal("no answer"));
                self.copy_failed(uid, job, error);
            }
        }
    }

    fn came(&mut self, uid: ServerUid, source: ServerUid, what: ReadOut, bytes: &[u32]) {
        let server = self.servers.get_mut(&uid).unwrap();
        let Some(copy) = &mut server.copy else { return };
        let ReadOut::Bytes { offset, .. } = what else {
            let blocks = 0..bytes.len().div_ceil(BLOCK);
            let part = |of: &[u32], block: usize| {
                let start = (block * BLOCK).min(of.len());
                of[start..(start + BLOCK).min(of.len())].to_vec()
            };
            // A block that is longer here only is cut at last; one that is a part of the source's is fetched.
            let differs = |block: &usize| {
                let (theirs, mine) = (part(bytes, *block), part(&server.disk.bytes, *block));
                mine.get(..theirs.len()) != Some(&theirs[..])
            };
            copy.blocks = blocks.filter(differs).rev().collect();
            copy.table = Some(bytes.to_vec());
            return;
        };
        copy.blocks.pop();
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let piece = bytes[start..(start + BLOCK).min(bytes.len())].to_vec();
        let (job, length) = (copy.job, piece.len() as u64);
        if piece.contains(&ROT) {
            // The source finds that its block is bad.
            self.step(source, Input::BlockMismatch, None);
            return self.copy_failed(uid, job, Error::unknown("the source has a bad block"));
        }
        copy.copied_bytes += length;
        copy.piece = piece;
        let token = self.token();
        self.servers.get_mut(&uid).unwrap().owed.insert(token, Owed::Copy);
        self.step(uid, Input::Piece { token, job, offset, length }, None);
        let answer = self.copy_answers.remove(&token).expect("answered at once");
        assert_eq!(answer, Ok(DataResponse::Done));
    }

    fn copy_failed(&mut self, uid: ServerUid, job: Job, error: Error) {
        let server = self.servers.get_mut(&uid).unwrap();
        server.copy = None;
        self.step(uid, Input::Copied { job, result: Err(error) }, None);
    }

    fn copy_done(&mut self, uid: ServerUid) {
        let Some(copy) = self.servers.get_mut(&uid).unwrap().copy.take() else { return };
        let table = copy.table.unwrap_or_default();
        let (length, digest) = (table.len() as u64, digest(&table));
        let result = Ok(Copied { length, digest, copied_bytes: copy.copied_bytes });
        self.step(uid, Input::Copied { job: copy.job, result }, None);
    }
}
