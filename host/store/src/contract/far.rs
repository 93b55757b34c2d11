//! Contract of a far cache.

use std::time::Duration;

use crate::{FAR_FORMAT, FAR_HEADER, Far};

fn far_value(as_of: u64, mark: &str, rest: &[u8]) -> Vec<u8> {
    let mut value = format!("{FAR_FORMAT}{as_of:020}{mark:-<40}").into_bytes();
    assert_eq!(value.len(), FAR_HEADER);
    value.extend_from_slice(rest);
    value
}

const LONG: Duration = Duration::from_secs(60);

async fn get_one(far: &dyn Far, key: &str) -> Option<Vec<u8>> {
    let values = far.get(&[key.to_owned()]).await.expect("far answers");
    assert_eq!(values.len(), 1);
    values.into_iter().next().flatten()
}

/// Bytes come back as they were, under any key, several at once in order.
pub async fn far_returns_what_was_put(far: &dyn Far) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let keys = ["contract:a", "contract:b c", "contract:ä\r\n", "contract:"];
    for (n, key) in (1_u64..).zip(keys) {
        assert_eq!(get_one(far, key).await, None);
        assert_eq!(
            far.put(key, &far_value(n, "x", &every_byte), b"", LONG)
                .await,
            Ok(true)
        );
    }
    let asked = ["contract:b c", "contract:none", "contract:", "contract:b c"].map(str::to_owned);
    let value = |n| Some(far_value(n, "x", &every_byte));
    assert_eq!(
        far.get(&asked).await,
        Ok(vec![value(2), None, value(4), value(2)])
    );
    assert_eq!(far.get(&[]).await, Ok(Vec::new()));
    let big = far_value(9, "x", &vec![7; 300_000]);
    assert_eq!(far.put("contract:a", &big, b"", LONG).await, Ok(true));
    assert_eq!(get_one(far, "contract:a").await, Some(big));
}

/// A value is gone after its time, and no longer in the way.
pub async fn far_values_expire(far: &dyn Far) {
    let key = "contract:expiry";
    let value = far_value(5, "x", b"");
    assert_eq!(
        far.put(key, &value, b"", Duration::from_millis(80)).await,
        Ok(true)
    );
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while get_one(far, key).await.is_some() {
        assert!(
            std::time::Instant::now() < until,
            "the value does not expire"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        far.put(key, &far_value(4, "x", b""), b"", LONG).await,
        Ok(true)
    );
    // A life of zero is a short one, not an error and not an eternal one.
    assert!(
        far.put(key, &far_value(6, "x", b""), b"", Duration::ZERO)
            .await
            .is_ok()
    );
}

/// A4: only what is newer replaces, or what replaces exactly the header that was judged.
pub async fn far_puts_only_what_is_newer(far: &dyn Far) {
    let key = "contract:newer";
    // Numbers whose order as strings without zeros would be another one.
    let (v9, v10, v11) = (
        far_value(9, "x", b"9"),
        far_value(10, "x", b"10"),
        far_value(11, "x", b"11"),
    );
    assert_eq!(far.put(key, &v10, b"", LONG).await, Ok(true));
    assert_eq!(far.put(key, &v9, b"", LONG).await, Ok(false), "older");
    assert_eq!(
        far.put(key, &far_value(10, "y", b""), b"", LONG).await,
        Ok(false),
        "equal"
    );
    assert_eq!(
        get_one(far, key).await,
        Some(v10.clone()),
        "a refused put changes nothing"
    );
    assert_eq!(far.put(key, &v11, b"", LONG).await, Ok(true), "newer");

    // Of a lost history (H16): higher, but judged unusable.
    let seen = &v11[..FAR_HEADER];
    assert_eq!(
        far.put(key, &v9, &v10[..FAR_HEADER], LONG).await,
        Ok(false),
        "another was seen"
    );
    assert_eq!(
        far.put(key, &v9, &seen[..30], LONG).await,
        Ok(false),
        "half a header"
    );
    assert_eq!(
        far.put(key, &v9, seen, LONG).await,
        Ok(true),
        "this one was seen"
    );
    assert_eq!(get_one(far, key).await, Some(v9.clone()));
    assert_eq!(
        far.put(key, &v10, seen, LONG).await,
        Ok(true),
        "newer, whatever was seen"
    );

    let high = 1_u64 << 51;
    assert_eq!(
        far.put(key, &far_value(high, "x", b""), b"", LONG).await,
        Ok(true)
    );
    assert_eq!(
        far.put(key, &far_value(high - 1, "x", b""), b"", LONG)
            .await,
        Ok(false)
    );
    assert_eq!(
        far.put(key, &far_value(high + 1, "x", b""), b"", LONG)
            .await,
        Ok(true)
    );
}

/// A4: what cannot be read is in nobody's way. `plant` leaves bytes under a key, past all rules.
pub async fn far_overwrites_what_it_cannot_read<F>(
    far: &dyn Far,
    plant: impl Fn(String, Vec<u8>) -> F,
) where
    F: Future<Output = ()>,
{
    let newest = far_value(u64::MAX >> 12, "x", b"");
    let mut other_format = newest.clone();
    other_format[1] = b'2';
    let mut no_digits = newest.clone();
    no_digits[5] = b'x';
    let mut spaces = newest.clone();
    spaces[2..22].fill(b' ');
    let planted = [
        Vec::new(),
        b"garbage".to_vec(),
        newest[..FAR_HEADER - 1].to_vec(),
        other_format,
        no_digits,
        spaces,
        vec![0; 100],
    ];
    for (n, bytes) in planted.into_iter().enumerate() {
        let key = format!("contract:unreadable:{n}");
        plant(key.clone(), bytes.clone()).await;
        assert_eq!(
            get_one(far, &key).await,
            Some(bytes),
            "far judges nothing that it returns"
        );
        let value = far_value(1, "x", b"new");
        assert_eq!(far.put(&key, &value, b"", LONG).await, Ok(true), "case {n}");
        assert_eq!(get_one(far, &key).await, Some(value));
    }
    // The planted way itself: what can be read does stay.
    plant("contract:readable".to_owned(), newest.clone()).await;
    assert_eq!(
        far.put("contract:readable", &far_value(1, "x", b""), b"", LONG)
            .await,
        Ok(false)
    );
}
