use super::*;

const SOON: Duration = Duration::from_secs(30);

fn tenant(name: &str) -> Whose {
    Whose::Tenant(Tenant::new(name).expect("an id"))
}

fn through(token: &str, tenant: &str) -> Whose {
    let tenant = Tenant::new(tenant).expect("an id");
    Charge::Token(token.into()).share(Some(&tenant))
}

/// Callers that wait for a share.
fn waiting(shares: &Shares, whose: &Whose) -> usize {
    let state = shares.lock();
    let account = state.payers.get(&whose.payer());
    account
        .and_then(|account| account.shares.get(whose))
        .map_or(0, VecDeque::len)
}

fn all(shares: &Shares, whose: &Whose) -> Vec<Place> {
    std::iter::from_fn(|| shares.try_take(whose)).collect()
}

#[test]
fn whoever_takes_all_it_can_get_leaves_a_place_for_the_next() {
    for places in [1, 2, 3, 8, 64] {
        let shares = Shares::new(places, places);
        let mut kept = Vec::new();
        for number in 0.. {
            let before = shares.taken();
            kept.push(all(&shares, &tenant(&format!("t{number}"))));
            if shares.taken() == before {
                break;
            }
        }
        // The first had half, the next half of the rest, and so on to the last place.
        assert_eq!(shares.taken(), places);
        assert_eq!(kept[0].len(), places.div_ceil(2), "{places} places");
    }
}

#[test]
fn one_alone_has_half_and_never_more_than_each_may_have() {
    let shares = Shares::new(8, 8);
    assert_eq!(all(&shares, &tenant("a")).len(), 4);
    let shares = Shares::new(8, 2);
    assert_eq!(all(&shares, &tenant("a")).len(), 2);
}

#[test]
fn tenants_cannot_take_what_is_kept_for_operators() {
    let shares = Shares::new(2, 1);
    let tenants: Vec<Place> = ["a", "b", "c"]
        .iter()
        .filter_map(|name| shares.try_take(&tenant(name)))
        .collect();
    assert_eq!(tenants.len(), 2);
    let operator = shares.try_take(&Whose::Operator);
    assert!(operator.is_some());
    assert!(shares.try_take(&Whose::Operator).is_none());
}

#[tokio::test]
async fn shares_take_turns_however_many_wait_in_one() {
    let shares = Shares::new(1, 1);
    let held = shares.try_take(&tenant("noisy")).expect("free");
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    let mut callers = Vec::new();
    for number in 0..21 {
        let whose = tenant(if number == 20 { "quiet" } else { "noisy" });
        let (shares, done) = (shares.clone(), done.clone());
        callers.push(tokio::spawn(async move {
            let place = shares.take(&whose, SOON).await;
            done.send(whose).expect("listened to");
            drop(place);
        }));
        // The quiet one comes last.
        tokio::task::yield_now().await;
    }
    drop(held);
    let mut served = Vec::new();
    for _ in 0..21 {
        served.push(order.recv().await.expect("served"));
    }
    let at = served.iter().position(|whose| *whose == tenant("quiet"));
    assert!(at.is_some_and(|at| at <= 1), "{at:?}");
    for caller in callers {
        caller.await.expect("no panic");
    }
    assert_eq!(shares.lock().payers.len(), 0, "nothing is remembered");
    assert_eq!(shares.lock().turns.len(), 0);
}

#[tokio::test]
async fn who_is_at_it_for_long_lets_others_in_between_and_goes_on_before_its_own() {
    let shares = Shares::new(1, 1);
    let (noisy, quiet) = (tenant("noisy"), tenant("quiet"));
    let place = shares.try_take(&noisy).expect("free");
    let place = place.rotate(SOON).await.expect("nobody waits");
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    for whose in [&noisy, &quiet] {
        let (shares, done, whose) = (shares.clone(), done.clone(), whose.clone());
        tokio::spawn(async move {
            let place = shares.take(&whose, SOON).await;
            done.send(Some(whose)).expect("listened to");
            drop(place);
        });
        tokio::task::yield_now().await;
    }
    let place = place.rotate(SOON).await.expect("its turn came back");
    done.send(None).expect("listened to");
    drop(place);
    let mut served = Vec::new();
    for _ in 0..3 {
        served.push(order.recv().await.expect("served"));
    }
    assert_eq!(served, [Some(quiet), None, Some(noisy)]);
}

#[tokio::test]
async fn who_leaves_the_queue_takes_no_place_with_it() {
    let shares = Shares::new(1, 1);
    let held = shares.try_take(&tenant("a")).expect("free");
    for _ in 0..10 {
        let left = shares.take(&tenant("b"), Duration::ZERO).await;
        assert!(left.is_none());
    }
    drop(held);
    assert!(shares.take(&tenant("c"), SOON).await.is_some());
    assert_eq!(shares.lock().payers.len(), 0);
}

#[tokio::test]
async fn a_queue_that_is_full_is_told_at_once() {
    let shares = Shares::new(1, 1);
    let held = shares.try_take(&tenant("a")).expect("free");
    let callers: Vec<_> = (0..QUEUE)
        .map(|_| {
            let shares = shares.clone();
            tokio::spawn(async move { shares.take(&tenant("a"), SOON).await.is_some() })
        })
        .collect();
    while waiting(&shares, &tenant("a")) < QUEUE {
        tokio::task::yield_now().await;
    }
    assert!(shares.take(&tenant("a"), SOON).await.is_none());
    drop(held);
    for caller in callers {
        assert!(caller.await.expect("no panic"));
    }
}

#[test]
fn a_token_has_three_quarters_however_many_tenants_it_makes_up() {
    let shares = Shares::new(64, 8);
    let made_up: Vec<Place> = (0..1000)
        .filter_map(|n| shares.try_take(&through("gateway", &format!("t{n}"))))
        .collect();
    assert_eq!(made_up.len(), 48);
    // Another token, and a tenant by itself, have what is left.
    let others = all(&shares, &through("other", "quiet"));
    let own = all(&shares, &tenant("too"));
    assert_eq!((others.len(), own.len()), (8, 4));
    drop(made_up);
    assert_eq!(shares.taken(), 12);
    // However many there are, it has no more than eight tenants.
    let shares = Shares::new(512, 8);
    let made_up = (0..1000).filter_map(|n| shares.try_take(&through("gateway", &format!("t{n}"))));
    assert_eq!(made_up.collect::<Vec<_>>().len(), 64);
}

#[test]
fn a_tenant_has_its_share_once_whoever_asks_about_it() {
    let shares = Shares::new(64, 8);
    let own = all(&shares, &tenant("a"));
    assert_eq!(own.len(), 8);
    assert!(shares.try_take(&through("gateway", "a")).is_none());
    assert!(shares.try_take(&through("gateway", "b")).is_some());
}

/// Who is served, in order, of callers that come one after the other while the only place is taken.
async fn order_of(callers: &[Whose]) -> Vec<Whose> {
    let shares = Shares::new(1, 1);
    let held = shares.try_take(&tenant("first")).expect("free");
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    for whose in callers {
        let (shares, done, whose) = (shares.clone(), done.clone(), whose.clone());
        tokio::spawn(async move {
            let place = shares.take(&whose, SOON).await.expect("its turn came");
            done.send(whose).expect("listened to");
            drop(place);
        });
        tokio::task::yield_now().await;
    }
    drop(held);
    let mut served = Vec::new();
    for _ in callers {
        served.push(order.recv().await.expect("served"));
    }
    drop(order);
    while shares.taken() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(shares.lock().payers.len(), 0, "nothing is remembered");
    assert_eq!(shares.lock().turns.len(), 0);
    served
}

#[tokio::test]
async fn tokens_take_turns_and_so_do_the_tenants_of_one() {
    let mut callers: Vec<Whose> = (0..50)
        .map(|n| through("noisy", &format!("t{n}")))
        .collect();
    callers.extend((0..3).map(|_| through("noisy", "t0")));
    callers.push(through("quiet", "a"));
    callers.push(through("quiet", "b"));
    callers.push(tenant("own"));
    let served = order_of(&callers).await;
    let at = |whose: &Whose| served.iter().position(|one| one == whose).expect("served");
    assert!(at(&through("quiet", "a")) <= 2, "{served:?}");
    assert!(at(&tenant("own")) <= 2, "{served:?}");
    assert!(at(&through("quiet", "b")) <= 4, "{served:?}");
    // One that asks four times lets each of the others ask once in between.
    let again = served
        .iter()
        .rposition(|one| *one == through("noisy", "t0"));
    assert_eq!(again, Some(served.len() - 1));
    assert!(at(&through("noisy", "t49")) < served.len() - 3);
}

#[tokio::test]
async fn a_token_waits_with_so_many_tenants_at_a_time() {
    let shares = Shares::new(1, 1);
    let held = shares.try_take(&tenant("first")).expect("free");
    let mut callers = Vec::new();
    for number in 0..SHARES * QUEUE {
        let (shares, whose) = (shares.clone(), through("noisy", &format!("t{number}")));
        callers.push(tokio::spawn(async move {
            shares.take(&whose, SOON).await.is_some()
        }));
    }
    while shares
        .lock()
        .payers
        .values()
        .map(|one| one.shares.len())
        .sum::<usize>()
        < SHARES * QUEUE
    {
        tokio::task::yield_now().await;
    }
    assert!(shares.take(&through("noisy", "more"), SOON).await.is_none());
    // Those that have left make room.
    callers.drain(..10).for_each(|caller| caller.abort());
    while shares
        .lock()
        .payers
        .values()
        .flat_map(|one| one.shares.values())
        .all(is_live)
    {
        tokio::task::yield_now().await;
    }
    // Not at once: to look for them is work.
    let more = {
        let shares = shares.clone();
        tokio::spawn(async move {
            for _ in 0..=LOOKS {
                if shares.take(&through("noisy", "more"), SOON).await.is_some() {
                    return true;
                }
            }
            false
        })
    };
    while waiting(&shares, &through("noisy", "more")) == 0 && !more.is_finished() {
        tokio::task::yield_now().await;
    }
    drop(held);
    for caller in callers.into_iter().chain([more]) {
        assert!(caller.await.expect("no panic"));
    }
}
