//! Bodies that arrive packed (`Content-Encoding`, RFC 9110 8.4): gzip, deflate and zstd, unpacked bit by bit
//! so that no worker is held up, and only as far as the call takes bytes. Not for answers, which are small.

use std::io::{Cursor, Read};

use axum::body::Bytes;
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use flate2::bufread::{GzDecoder, ZlibDecoder};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::problem::Problem;

/// What a client may choose from.
pub const TAKEN: &str = "gzip, deflate, zstd";
/// Bytes that are unpacked before other requests have their turn.
const STRIDE: usize = 64 << 10;
/// Largest window of a zstd frame (RFC 9659): what a frame may ask to be kept in memory.
const WINDOW_MAX: u64 = 8 << 20;
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
    Problem::new(status, "unsupported-encoding", detail)
}

/// The body as it was before it was packed, if that has at most `limit` bytes.
pub async fn unpack(coding: Coding, packed: Bytes, limit: usize) -> Result<Bytes, Problem> {
    let end = packed.len() as u64;
    let mut source = Cursor::new(packed);
    let mut unpacked = Unpacked {
        bytes: Vec::new(),
        limit,
    };
    for _ in 0..PARTS_MAX {
        match coding {
            Coding::Gzip => unpacked.take(GzDecoder::new(&mut source)).await?,
            Coding::Deflate => unpacked.take(ZlibDecoder::new(&mut source)).await?,
            Coding::Zstd => unpacked.take_frame(&mut source).await?,
        }
        if source.position() == end {
            return Ok(unpacked.bytes.into());
        }
    }
    Err(broken(format!("it has more than {PARTS_MAX} parts")))
}

fn broken(why: impl std::fmt::Display) -> Problem {
    let detail = format!("the body is not encoded as Content-Encoding says: {why}");
    Problem::bad("malformed-encoding", detail)
}

struct Unpacked {
    bytes: Vec<u8>,
    limit: usize,
}

impl Unpacked {
    fn within_limit(&self) -> Result<(), Problem> {
        if self.bytes.len() <= self.limit {
            return Ok(());
        }
        let problem = Problem::too_large(self.limit);
        let detail = format!("{}, counted after decompression", problem.detail);
        Err(Problem { detail, ..problem })
    }

    async fn take(&mut self, mut source: impl Read) -> Result<(), Problem> {
        loop {
            let start = self.bytes.len();
            self.bytes.resize(start + STRIDE, 0);
            let read = source.read(&mut self.bytes[start..]).map_err(broken)?;
            self.bytes.truncate(start + read);
            self.within_limit()?;
            if read == 0 {
                return Ok(());
            }
            tokio::task::yield_now().await;
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
        let some = || BlockDecodingStrategy::UptoBytes(STRIDE);
        while !decoder.is_finished() {
            decoder
                .decode_blocks(&mut *source, some())
                .map_err(broken)?;
            decoder.collect_to_writer(&mut self.bytes).map_err(broken)?;
            self.within_limit()?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

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

    async fn unpacked(coding: Coding, packed: Vec<u8>) -> Result<Vec<u8>, (u16, String)> {
        let read = unpack(coding, packed.into(), 100_000).await;
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
