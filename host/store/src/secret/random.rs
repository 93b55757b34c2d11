//! Random URLs with secrets in them, for tests of whatever shows one.

use proptest::prelude::*;

/// In every secret of a random URL.
pub const MARK: &str = "Zs3cretZ";

/// Text with the mark in it, and signs around it that have a meaning in a URL.
fn secret() -> impl Strategy<Value = String> {
    let around = "[a-z0-9@:/?#&=%+,;!$ \\[\\]\\\\]{0,6}";
    (around, around).prop_map(|(before, after)| format!("{before}{MARK}{after}"))
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

prop_compose! {
    pub fn url()(
        scheme in prop::sample::select(vec![
            "postgres", "postgresql", "redis", "rediss", "redis+unix", "unix",
            "redis+cluster", "rediss+cluster", "redis+sentinel", "valkey", "https",
        ]),
        user in "[a-z]{0,4}(@corp|%40corp)?",
        secret in secret(),
        is_encoded in any::<bool>(),
        hosts in prop::sample::select(vec!["db", "db:5432", "a:1,b:2", "[::1]:7", "", "%2Frun"]),
        path in prop::sample::select(vec!["", "/", "/x", "/main/0", "/run/r.sock"]),
        name in prop::sample::select(vec![
            "password", "pass", "sslpassword", "passfile", "options", "sentinelPassword", "token",
            "PASSWORD", "p%61ss", "anything",
        ]),
        others in prop::sample::select(vec!["", "user=me@corp&", "sslmode=require&", "db=1&x&"]),
        place in 0..5,
    ) -> String {
        let secret = if is_encoded { encoded(&secret) } else { secret };
        match place {
            0 => format!("{scheme}://{user}:{secret}@{hosts}{path}"),
            1 => format!("{scheme}://{user}:{secret}@{hosts}{path}?{others}db=1"),
            2 => format!("{scheme}://{hosts}{path}?{others}{name}={secret}"),
            3 => format!("{scheme}://{hosts}{path}?{name}={secret}&user=me@corp"),
            _ => format!("{scheme}://{user}:x@{hosts}{path}?db=1#{secret}"),
        }
    }
}
