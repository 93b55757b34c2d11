//! Bodies that arrive packed (`Content-Encoding`, RFC 9110 8.4): gzip, deflate and zstd, unpacked
//! bit by bit so that no worker is held up, and only as far as the call takes bytes. Not for
//! answers, which are small.

use std::io::{self, BufRead, Cursor, ErrorKind, Read};

use axum::body::Bytes;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use flate2::bufread::{GzDecoder, ZlibDecoder};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::memory::{Room, SMALL, grow};
use super::names::TAKEN;
use super::problem::Problem;
use ordain_coherence::shares::Place;

/// Bytes that are unpacked before other requests have their turn.
const STRIDE: usize = 64 << 10;
/// Largest window of a zstd frame (RFC 9659): what a frame may ask to be kept in memory.
const WINDOW_MAX: u64 = 8 << 20;
/// Blocks of a zstd frame that may be a small body: of those that end it some are empty.
const BLOCKS: usize = 2;
/// Blocks of a frame, and packed bytes of them, after which others have their turn: a block may be
/// three bytes.
const TURN: (usize, u64) = (16, 16 << 10);
/// Parts of one body, each packed by itself: to begin one costs far more than its few bytes.
const PARTS_MAX: usize = 100;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Deflate,
    Zstd,
}

/// How the body is packed; `None`: it is as it is.
pub fn of(headers: &HeaderMap) -> Result<Option<Coding>, Problem> {
    let mut found = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().unwrap_or("?").split(',') {
            let coding = match &*name.trim().to_ascii_lowercase() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "zstd" => Coding::Zstd,
                other => {
                    let detail = format!("a body encoded as {other:?} is not taken, but {TAKEN}");
                    return Err(unsupported(detail));
                }
            };
            if found.replace(coding).is_some() {
                return Err(unsupported(format!(
                    "a body that is encoded several times is not taken: once, as one of {TAKEN}"
                )));
            }
        }
    }
    Ok(found)
}

fn unsupported(detail: String) -> Problem {
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Problem {
        demand: Some(Box::new((ACCEPT_ENCODING, HeaderValue::from_static(TAKEN)))),
        ..Problem::new(status, "unsupported-encoding", detail)
    }
}

/// The body as it was before it was packed, if that has at most `limit` bytes. One that is not
/// small needs room.
pub async fn unpack(
    coding: Coding,
    packed: Bytes,
    limit: usize,
    room: &mut Room<'_>,
) -> Result<Bytes, Problem> {
    let end = packed.len() as u64;
    let mut source = Sips::of(packed);
    let mut unpacked = Unpacked {
        bytes: Vec::new(),
        limit,
        room,
        place: None,
    };
    for _ in 0..PARTS_MAX {
        match coding {
            Coding::Gzip => unpacked.take(GzDecoder::new(&mut source)).await?,
            Coding::Deflate => unpacked.take(ZlibDecoder::new(&mut source)).await?,
            Coding::Zstd => unpacked.take_frame(&mut source.whole).await?,
        }
        if source.whole.position() == end {
            return unpacked.end().await;
        }
    }
    Err(broken(format!("it has more than {PARTS_MAX} parts")))
}

fn broken(why: impl std::fmt::Display) -> Problem {
    let detail = format!("the body is not encoded as Content-Encoding says: {why}");
    Problem::bad("malformed-encoding", detail)
}

/// The packed bytes, of which a stride is given at a time: parts of them may hold nothing, and a
/// decoder looks for something until it is told that it has to wait.
struct Sips {
    whole: Cursor<Bytes>,
    left: usize,
}

impl Sips {
    fn of(bytes: Bytes) -> Sips {
        Sips {
            whole: Cursor::new(bytes),
            left: STRIDE,
        }
    }
}

impl Read for Sips {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Sips {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            self.left = STRIDE;
            return Err(ErrorKind::WouldBlock.into());
        }
        let rest = self.whole.fill_buf()?;
        Ok(&rest[..rest.len().min(self.left)])
    }

    fn consume(&mut self, read: usize) {
        self.whole.consume(read);
        self.left -= read;
    }
}

struct Unpacked<'a, 'b> {
    bytes: Vec<u8>,
    limit: usize,
    room: &'a mut Room<'b>,
    /// One that is large has it.
    place: Option<Place>,
}

impl Unpacked<'_, '_> {
    async fn end(mut self) -> Result<Bytes, Problem> {
        if self.bytes.len() > SMALL {
            self.room.take().await?;
        }
        self.bytes.shrink_to_fit();
        Ok(self.bytes.into())
    }

    /// Whether so many are not too many.
    fn within_limit(&self, size: usize) -> Result<(), Problem> {
        if size <= self.limit {
            return Ok(());
        }
        let problem = Problem::too_large(self.limit);
        let detail = format!("{}, counted after decompression", problem.detail);
        Err(Problem { detail, ..problem })
    }

    /// Others have their turn before there is more. `is_large`: there is more than a stride's
    /// worth.
    async fn pause(&mut self, is_large: bool) -> Result<(), Problem> {
        if is_large && self.place.is_none() {
            // In this order: whoever has one of the few places to unpack in waits for nothing more.
            self.room.take().await?;
            self.place = Some(self.room.unpacking().await?);
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn take(&mut self, mut source: impl Read) -> Result<(), Problem> {
        loop {
            let start = self.bytes.len();
            grow(&mut self.bytes, STRIDE, self.limit + STRIDE);
            self.bytes.resize(start + STRIDE, 0);
            let read = source.read(&mut self.bytes[start..]);
            self.bytes.truncate(start + *read.as_ref().unwrap_or(&0));
            let read = match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.pause(false).await?;
                    continue;
                }
                read => read.map_err(broken)?,
            };
            self.within_limit(self.bytes.len())?;
            if read == 0 {
                return Ok(());
            }
            self.pause(self.bytes.len() >= STRIDE).await?;
        }
    }

    /// One frame of zstd, or one that holds no data.
    async fn take_frame(&mut self, source: &mut Cursor<Bytes>) -> Result<(), Problem> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_MAX);
        match decoder.init(&mut *source) {
            Ok(()) => {}
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let after = source.position() + u64::from(length);
                if after > source.get_ref().len() as u64 {
                    return Err(broken("it ends too early"));
                }
                source.set_position(after);
                return Ok(());
            }
            Err(error) => return Err(broken(error)),
        }
        // One block has at most 128 KiB, and may have nothing. What has come lies in the window for
        // a while.
        let one = || BlockDecodingStrategy::UptoBlocks(1);
        let mut since = (0, source.position());
        while !decoder.is_finished() {
            decoder.decode_blocks(&mut *source, one()).map_err(broken)?;
            // At its end all of the window comes at once.
            let more = decoder.can_collect();
            self.within_limit(self.bytes.len() + more)?;
            grow(&mut self.bytes, more, self.limit);
            decoder.collect_to_writer(&mut self.bytes).map_err(broken)?;
            let is_large = decoder.blocks_decoded() > BLOCKS || self.bytes.len() >= STRIDE;
            let (blocks, packed) = (decoder.blocks_decoded(), source.position());
            let is_turn = blocks - since.0 >= TURN.0 || packed - since.1 >= TURN.1;
            if is_turn || (is_large && self.place.is_none()) {
                self.pause(is_large).await?;
                since = (blocks, packed);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use axum::http::{Extensions, HeaderValue};
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;
    use crate::access::Principal;

    fn packed(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(bytes).expect("memory");
                encoder.finish().expect("memory")
            }
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(bytes).expect("memory");
                encoder.finish().expect("memory")
            }
            Coding::Zstd => compress_to_vec(bytes, CompressionLevel::Fastest),
        }
    }

    fn call_of(tenant: &str) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(Arc::new(Principal::editor(tenant)));
        extensions
    }

    async fn unpacked(coding: Coding, packed: Vec<u8>) -> Result<Vec<u8>, (u16, String)> {
        let call = call_of("coding");
        let read = unpack(coding, packed.into(), 100_000, &mut Room::new(&call)).await;
        read.map(|bytes| bytes.to_vec())
            .map_err(|problem| (problem.status.as_u16(), problem.detail))
    }

    const ALL: [Coding; 3] = [Coding::Gzip, Coding::Deflate, Coding::Zstd];

    #[tokio::test]
    async fn a_packed_body_is_unpacked_up_to_the_limit_and_a_bomb_is_refused() {
        for coding in ALL {
            for size in [0, 1, 70_000, 100_000] {
                let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
                assert_eq!(unpacked(coding, packed(coding, &bytes)).await, Ok(bytes));
            }
            for size in [100_001, 64 << 20] {
                let bomb = packed(coding, &vec![b' '; size]);
                let (status, detail) = unpacked(coding, bomb).await.expect_err("a bomb");
                assert_eq!(status, 413, "{coding:?}");
                assert!(detail.contains("after decompression"), "{detail}");
            }
        }
    }

    /// 81 blocks of 128 KiB of one byte each, in a window of 8 MiB.
    fn bomb() -> Vec<u8> {
        let mut bytes = b"\x28\xb5\x2f\xfd\x00\x68".to_vec();
        for last in (0..=80).map(|block| u32::from(block == 80)) {
            let head = ((128 << 10) << 3) | (1 << 1) | last;
            bytes.extend_from_slice(&head.to_le_bytes()[..3]);
            bytes.push(b' ');
        }
        bytes
    }

    #[tokio::test]
    async fn of_many_large_bodies_a_few_are_unpacked_at_a_time_and_small_ones_pass_them() {
        for (coding, large) in [
            (Coding::Zstd, bomb()),
            (Coding::Gzip, packed(Coding::Gzip, &vec![b' '; 1 << 20])),
        ] {
            let mut all = Vec::new();
            for tenant in ["coding-a", "coding-a", "coding-b", "coding-c"] {
                let call = call_of(tenant);
                all.push(Room::new(&call).unpacking().await.expect("a place"));
            }
            let mut waiting = std::pin::pin!(unpacked(coding, large));
            for _ in 0..100 {
                assert!(futures::poll!(waiting.as_mut()).is_pending(), "{coding:?}");
            }
            let small = packed(coding, b"small");
            assert_eq!(unpacked(coding, small).await, Ok(b"small".to_vec()));
            drop(all);
            assert_eq!(waiting.await.expect_err("a bomb").0, 413, "{coding:?}");
        }
    }

    #[tokio::test]
    async fn blocks_that_hold_nothing_leave_others_their_turn() {
        const EMPTY: usize = 100_000;
        let gzip = [
            &b"\x1f\x8b\x08\0\0\0\0\0\0\xff"[..],
            &b"\0\0\0\xff\xff".repeat(EMPTY),
            b"\x01\0\0\xff\xff\0\0\0\0\0\0\0\0",
        ];
        let zstd = [
            &b"\x28\xb5\x2f\xfd\0\x68"[..],
            &b"\0\0\0".repeat(EMPTY),
            b"\x01\0\0",
        ];
        for (coding, parts) in [(Coding::Gzip, gzip), (Coding::Zstd, zstd)] {
            let mut unpacking = std::pin::pin!(unpacked(coding, parts.concat()));
            for _ in 0..5 {
                assert!(
                    futures::poll!(unpacking.as_mut()).is_pending(),
                    "{coding:?}"
                );
            }
            assert_eq!(unpacking.await, Ok(Vec::new()));
        }
        // Whatever lies at the border of two strides is read.
        let mixed: Vec<u8> = (0..100_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(&mixed).expect("memory");
        let stored = encoder.finish().expect("memory");
        assert_eq!(unpacked(Coding::Gzip, stored).await, Ok(mixed));
    }

    #[tokio::test]
    async fn several_parts_are_one_body_and_countless_ones_are_refused() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let part = packed(coding, b"ab");
            assert_eq!(
                unpacked(coding, part.repeat(3)).await,
                Ok(b"ababab".to_vec())
            );
            let (status, _) = unpacked(coding, part.repeat(101)).await.expect_err("many");
            assert_eq!(status, 400);
        }
        let note = [
            b"\x50\x2a\x4d\x18\x03\0\0\0abc".as_slice(),
            &packed(Coding::Zstd, b"x"),
        ];
        assert_eq!(
            unpacked(Coding::Zstd, note.concat()).await,
            Ok(b"x".to_vec())
        );
    }

    #[tokio::test]
    async fn what_is_not_packed_as_it_says_is_a_bad_request() {
        for coding in ALL {
            let whole = packed(coding, &b"some text ".repeat(50));
            let followed = [&whole[..], b"rest"].concat();
            for bytes in [
                Vec::new(),
                b"{}".to_vec(),
                whole[..whole.len() / 2].to_vec(),
                followed,
            ] {
                let (status, detail) = unpacked(coding, bytes.clone()).await.expect_err("broken");
                assert_eq!(status, 400, "{coding:?} {bytes:?}");
                assert!(detail.contains("Content-Encoding"), "{detail}");
            }
        }
        // A frame that asks for 128 MiB to be kept.
        let wide = b"\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00".to_vec();
        assert_eq!(unpacked(Coding::Zstd, wide).await.expect_err("wide").0, 400);
    }

    #[test]
    fn one_coding_that_is_known_is_taken_and_others_name_those() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            of(&headers).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[""]), Ok(None));
        assert_eq!(read(&["identity"]), Ok(None));
        assert_eq!(read(&["GZIP"]), Ok(Some(Coding::Gzip)));
        assert_eq!(read(&["x-gzip, identity"]), Ok(Some(Coding::Gzip)));
        assert_eq!(read(&["zstd"]), Ok(Some(Coding::Zstd)));
        assert_eq!(read(&["deflate"]), Ok(Some(Coding::Deflate)));
        for refused in [
            &["br"][..],
            &["gzip, gzip"],
            &["gzip", "zstd"],
            &["compress"],
            &["gzip;q=1"],
        ] {
            assert_eq!(read(refused), Err(415), "{refused:?}");
        }
    }
}
