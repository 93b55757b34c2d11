use super::*;

fn with_far() -> Configured {
    Configured {
        has_far: true,
        ..Configured::default()
    }
}

fn row(name: &str, value: &str, revision: u64) -> FleetSetting {
    FleetSetting {
        name: name.into(),
        value: value.into(),
        revision,
    }
}

/// Near and far, of policies.
fn on(caches: &Caches) -> (bool, bool) {
    on_of(caches, Kind::Policy)
}

fn on_of(caches: &Caches, kind: Kind) -> (bool, bool) {
    let now = caches.in_force();
    (now.near.has(kind), now.far.has(kind))
}

fn reasons(caches: &Caches) -> Vec<String> {
    let off = caches.caches().into_iter().filter_map(|cache| cache.off);
    off.collect()
}

#[test]
fn a_cache_is_on_if_all_that_concern_it_are() {
    for bits in 0..32u32 {
        let bit = |n: u32| bits >> n & 1 == 1;
        let mut options = with_far();
        options.switches = Switches {
            all: bit(0),
            policy: bit(1),
            config: bit(2),
            near: bit(3),
            far: bit(4),
        };
        let caches = Caches::new(options);
        for (kind, of_kind) in [(Kind::Policy, bit(1)), (Kind::Config, bit(2))] {
            let common = bit(0) && of_kind;
            assert_eq!(
                on_of(&caches, kind),
                (common && bit(3), common && bit(4)),
                "{bits:05b} {kind}"
            );
        }
        for cache in caches.caches() {
            let (near, far) = on_of(&caches, cache.kind);
            let is_on = if cache.tier == "near" { near } else { far };
            assert_eq!(cache.off.is_none(), is_on, "{cache:?}");
        }
    }
}

#[test]
fn the_reason_of_an_off_names_who_said_so() {
    let mut options = Configured::default();
    let none = "REDIS_URL is not set";
    assert_eq!(reasons(&Caches::new(options)), [none, none]);
    options.has_far = true;
    options.switches.near = false;
    let caches = Caches::new(options);
    let near = "ORDAIN_CACHE_NEAR is off";
    assert_eq!(reasons(&caches), [near, near]);
    assert!(caches.set_fleet(&[row("cache.near", "on", 7), row("cache.far", "off", 8)]));
    let far = "the fleet's switch `far` is off since revision 8";
    assert_eq!(reasons(&caches), [far, far]);
    let local = [(Setting::All, Some(Value::Switch(false)))];
    assert_eq!(caches.set_local(&local), Ok(true));
    let off = "the switch `all` of this instance is off";
    assert_eq!(reasons(&caches), [off; 4]);
}

#[test]
fn an_override_beats_the_fleet_and_the_fleet_beats_the_configuration() {
    let caches = Caches::new(with_far());
    assert_eq!(on(&caches), (true, true));
    let version = caches.version();
    assert!(caches.set_fleet(&[row("cache.near", "off", 7)]));
    assert_eq!(on(&caches), (false, true));
    assert!(caches.version() > version, "instances are retired");
    assert!(!caches.set_fleet(&[row("cache.near", "off", 7)]), "no news");
    let near_on = [(Setting::Near, Some(Value::Switch(true)))];
    assert_eq!(caches.set_local(&near_on), Ok(true));
    assert_eq!(on(&caches), (true, true));
    assert_eq!(caches.set_local(&[(Setting::Near, None)]), Ok(true));
    assert_eq!(on(&caches), (false, true));
    assert!(caches.set_fleet(&[]), "the row is gone");
    assert_eq!(on(&caches), (true, true));
}

#[test]
fn what_cannot_be_understood_changes_nothing() {
    let caches = Caches::new(with_far());
    let before = caches.in_force();
    let rows = [
        row("cache.near", "perhaps", 7),
        row("cache.of-tomorrow", "on", 8),
        row("bound", "550ms", 9),
        row("stale-limit", "-1s", 10),
    ];
    assert!(!caches.set_fleet(&rows));
    assert_eq!(caches.in_force(), before);
}

#[test]
fn a_bound_that_the_feed_cannot_keep_is_refused() {
    let caches = Caches::new(with_far());
    let deadline = Configured::default().feed_deadline;
    let bound = |time| [(Setting::Bound, Some(Value::Time(time)))];
    let least = FEED_INTERVAL + deadline;
    assert_eq!(
        caches.set_local(&bound(least)),
        Err(ValueError::Bound(deadline))
    );
    let above = least + Duration::from_millis(1);
    assert_eq!(caches.set_local(&bound(above)), Ok(true));
    assert_eq!(caches.in_force().bound, above);
}

#[test]
fn values_are_read_as_they_are_written() {
    for setting in Setting::ALL {
        assert_eq!(Setting::named(setting.name()), Some(setting));
        assert_eq!(Setting::of_member(setting.member()), Some(setting));
        let value = match setting.is_switch() {
            true => Value::Switch(true),
            false => Value::Time(Duration::from_millis(90_500)),
        };
        assert_eq!(setting.parse(&value.to_string()), Ok(value));
    }
}
