use ordain::{Ordain, ids::Tenant, request::Request};
use std::time::Instant;
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let t = Instant::now();
    let o = Ordain::builder()
        .component("target/debug/ordain-policy.wasm")
        .start()
        .await?;
    println!("start {:?}", t.elapsed());
    let acme = Tenant::new("acme")?;
    let policy = std::fs::read_to_string("/tmp/w/policy.json")?;
    println!(
        "{:?}",
        o.put_policy(&acme, &policy, Default::default(), &Default::default())
            .await?
    );
    let request = Request {
        task: Some("task9".into()),
        user: Some("u2".into()),
        ..Request::default()
    };
    for _ in 0..4 {
        let a = o.resolve(&acme, &request).await?;
        println!("{:?}", a.provenance);
    }
    println!("{:?}", o.resolve(&Tenant::new("none")?, &request).await);
    println!("{:?}", o.status());
    for round in 0..5 {
        let n = 200_000;
        let t = Instant::now();
        for _ in 0..n {
            std::hint::black_box(o.resolve(&acme, &request).await?);
        }
        println!("{round}: {:?}", t.elapsed() / n);
    }
    Ok(())
}
