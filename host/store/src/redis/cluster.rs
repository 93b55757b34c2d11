//! Redis Cluster: each command goes to the node of its key, over a link of that node's own. So a
//! node that hangs or is gone costs nothing but its own keys. Redirections are followed; which node
//! serves what is asked anew, in the background, whenever a reply hints that it has changed.
//!
//! The driver's own cluster connection is not used: while one node hangs it lets every caller of
//! that node's keys wait in vain, and one redirection at that time stops the calls to all others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::future::{join_all, select_ok};
use redis::{Cmd, ConnectionAddr, ConnectionInfo, Pipeline, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::CONNECT_DEADLINE;
use super::link::{FIRST_PAUSE, LONGEST_PAUSE, Link, Target};
use super::outages::Outages;
use super::reply::{wants_another_node, words};
use super::tls::Tls;
use super::topology::{Node, Redirect, ranges, redirect, slot};
use crate::FarError;

/// One call follows so many; a slot on its way costs two.
const REDIRECTS_MAX: usize = 5;

pub struct Cluster {
    seeds: Vec<Arc<Link>>,
    nodes: NodeLinks,
    state: watch::Sender<State>,
    /// Somebody is asking which node serves what.
    asking: AtomicBool,
}

enum State {
    /// Nobody has asked yet, or the first try is under way.
    Unknown,
    Known(Arc<Layout>),
    /// All tries have failed so far; callers do not wait for the next one.
    Lost(String),
}

/// First and last slot, and who serves them, in order.
struct Layout(Vec<(u16, u16, Arc<Link>)>);

impl Layout {
    fn link(&self, slot: u16) -> Option<&Arc<Link>> {
        let after = self.0.partition_point(|(first, ..)| *first <= slot);
        let (_, last, link) = self.0.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(link)
    }
}

/// A command under way: its place among the replies, and where it goes next.
struct Errand {
    index: usize,
    link: Arc<Link>,
    /// The node is to answer though the slot is not its own yet.
    asking: bool,
}

impl Cluster {
    /// Connects to nothing yet. `first` is one of the seeds.
    pub fn new(
        first: ConnectionInfo,
        seeds: Vec<Node>,
        tls: Option<Arc<Tls>>,
        outages: Arc<Outages>,
    ) -> Arc<Cluster> {
        let nodes = NodeLinks {
            login: first,
            tls,
            outages,
            links: Mutex::default(),
        };
        // Links of their own: the cluster may know the same nodes by other names.
        let seeds = seeds.into_iter().map(|node| nodes.new_link(node)).collect();
        Arc::new(Cluster {
            seeds,
            nodes,
            state: watch::Sender::new(State::Unknown),
            asking: AtomicBool::new(false),
        })
    }

    /// The replies to commands, each of which has one key: one round trip for each node concerned,
    /// all at once; one more for those that are redirected.
    pub async fn exchange(
        self: &Arc<Self>,
        commands: &[(&str, Cmd)],
        until: Instant,
    ) -> Result<Vec<Value>, FarError> {
        let layout = tokio::time::timeout_at(until, self.layout()).await;
        let layout = layout.unwrap_or(Err(FarError::Late))?;
        let mut errands = Vec::with_capacity(commands.len());
        for (index, (key, _)) in commands.iter().enumerate() {
            let Some(link) = layout.link(slot(key)) else {
                self.refresh();
                let words = "no node of the cluster serves this key";
                return Err(FarError::Unavailable(words.to_owned()));
            };
            errands.push(Errand {
                index,
                link: link.clone(),
                asking: false,
            });
        }
        let mut replies = vec![Value::Nil; commands.len()];
        for _ in 0..=REDIRECTS_MAX {
            errands = self.round(commands, errands, &mut replies, until).await?;
            if errands.is_empty() {
                return Ok(replies);
            }
        }
        let words = "the cluster sends us from node to node";
        Err(FarError::Unavailable(words.to_owned()))
    }

    /// Sends commands to their nodes and files the replies; returns those that were redirected.
    async fn round(
        self: &Arc<Self>,
        commands: &[(&str, Cmd)],
        errands: Vec<Errand>,
        replies: &mut [Value],
        until: Instant,
    ) -> Result<Vec<Errand>, FarError> {
        let mut nodes: Vec<(Arc<Link>, Pipeline, Vec<Option<usize>>)> = Vec::new();
        for errand in errands {
            let known = nodes
                .iter()
                .position(|(link, ..)| Arc::ptr_eq(link, &errand.link));
            let known = known.unwrap_or_else(|| {
                nodes.push((errand.link.clone(), Pipeline::new(), Vec::new()));
                nodes.len() - 1
            });
            let (_, pipeline, places) = &mut nodes[known];
            if errand.asking {
                pipeline.cmd("ASKING");
                places.push(None);
            }
            pipeline.add_command(commands[errand.index].1.clone());
            places.push(Some(errand.index));
        }
        let exchanges = nodes
            .iter()
            .map(|(link, pipeline, _)| link.exchange(pipeline, until));
        let exchanges = join_all(exchanges).await;
        let mut again = Vec::new();
        for ((link, _, places), exchanged) in nodes.iter().zip(exchanges) {
            // A node that does not answer may have been replaced.
            let exchanged = exchanged.inspect_err(|_| self.refresh())?;
            for (place, reply) in places.iter().zip(exchanged) {
                let Some(index) = *place else {
                    // What ASKING answered: the command itself shows whether it was heeded.
                    continue;
                };
                let (node, asking) = match redirect(&reply, link.host()) {
                    Some(Redirect::Moved(node)) => (node, false),
                    Some(Redirect::Ask(node)) => (node, true),
                    None => {
                        if wants_another_node(&reply) {
                            self.refresh();
                        }
                        replies[index] = reply;
                        continue;
                    }
                };
                if !asking {
                    self.refresh();
                }
                let link = self.nodes.link(node);
                again.push(Errand {
                    index,
                    link,
                    asking,
                });
            }
        }
        Ok(again)
    }

    /// Begins to connect, if nobody has.
    pub fn wake(self: &Arc<Self>) {
        if self.look().is_none() {
            self.refresh();
        }
    }

    /// Some node answers, as far as is known.
    pub fn has_a_node(&self) -> bool {
        match &*self.state.borrow() {
            State::Known(layout) => layout.0.iter().any(|(.., link)| link.is_in_order()),
            State::Unknown | State::Lost(_) => false,
        }
    }

    async fn layout(self: &Arc<Self>) -> Result<Arc<Layout>, FarError> {
        if let Some(found) = self.look() {
            return found;
        }
        self.refresh();
        let mut state = self.state.subscribe();
        loop {
            if let Some(found) = self.look() {
                return found;
            }
            if state.changed().await.is_err() {
                // The sender lives in `self`.
                return Err(FarError::Unavailable("the cluster is gone".to_owned()));
            }
        }
    }

    /// `None`: the first reply may come soon.
    fn look(&self) -> Option<Result<Arc<Layout>, FarError>> {
        match &*self.state.borrow() {
            State::Known(layout) => Some(Ok(layout.clone())),
            State::Lost(error) => Some(Err(FarError::Unavailable(error.clone()))),
            State::Unknown => None,
        }
    }

    /// Asks which node serves what, in the background; once at a time, and not again at once.
    fn refresh(self: &Arc<Self>) {
        if !self.asking.swap(true, Ordering::AcqRel) {
            tokio::spawn(refresh(Arc::downgrade(self)));
        }
    }

    /// What the first node says that says anything; seeds only if none of the known nodes does.
    async fn ask(&self) -> Result<Layout, FarError> {
        let known: Vec<Arc<Link>> = match &*self.state.borrow() {
            State::Known(layout) => layout.0.iter().map(|(.., link)| link.clone()).collect(),
            State::Unknown | State::Lost(_) => Vec::new(),
        };
        if let Ok(layout) = self.ask_one_of(distinct(known)).await {
            return Ok(layout);
        }
        self.ask_one_of(self.seeds.clone()).await
    }

    async fn ask_one_of(&self, links: Vec<Arc<Link>>) -> Result<Layout, FarError> {
        let until = Instant::now() + CONNECT_DEADLINE;
        let mut question = Pipeline::new();
        question.cmd("CLUSTER").arg("SLOTS");
        let question = &question;
        let answers = links.into_iter().map(|link| {
            Box::pin(async move {
                let replies = link.exchange(question, until).await?;
                match replies.first() {
                    Some(Value::ServerError(error)) => {
                        let (place, words) = (link.place(), words(error));
                        Err(FarError::Unavailable(format!("{place}: {words}")))
                    }
                    Some(reply) => Ok(ranges(reply, link.host())),
                    None => Ok(Vec::new()),
                }
                .and_then(|ranges| {
                    let none = || format!("{}: no node serves anything", link.place());
                    (!ranges.is_empty())
                        .then_some(ranges)
                        .ok_or_else(|| FarError::Unavailable(none()))
                })
            })
        });
        let answers: Vec<_> = answers.collect();
        if answers.is_empty() {
            let words = "no node is known";
            return Err(FarError::Unavailable(words.to_owned()));
        }
        let (ranges, _) = select_ok(answers).await?;
        let serving = ranges
            .into_iter()
            .map(|(first, last, node)| (first, last, self.nodes.link(node)));
        Ok(Layout(serving.collect()))
    }

    fn learn(&self, layout: Layout) {
        self.nodes
            .keep(|link| layout.0.iter().any(|(.., used)| Arc::ptr_eq(used, link)));
        self.state.send_replace(State::Known(Arc::new(layout)));
    }
}

/// One link for each node.
struct NodeLinks {
    /// How to log in; all nodes have that in common.
    login: ConnectionInfo,
    tls: Option<Arc<Tls>>,
    outages: Arc<Outages>,
    links: Mutex<HashMap<Node, Arc<Link>>>,
}

impl NodeLinks {
    fn new_link(&self, node: Node) -> Arc<Link> {
        let address = ConnectionAddr::Tcp(node.host, node.port);
        let info = self.login.clone().set_addr(address);
        Link::new(Target::Server(info), self.tls.clone(), self.outages.clone())
    }

    fn link(&self, node: Node) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links
            .entry(node.clone())
            .or_insert_with(|| self.new_link(node))
            .clone()
    }

    /// Forgets the others, and connects to these: whoever asks first should not have to wait.
    fn keep(&self, wanted: impl Fn(&Arc<Link>) -> bool) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| wanted(link));
        links.values().for_each(Link::wake);
    }
}

fn distinct(links: Vec<Arc<Link>>) -> Vec<Arc<Link>> {
    let mut seen: Vec<Arc<Link>> = Vec::new();
    for link in links {
        if !seen.iter().any(|known| Arc::ptr_eq(known, &link)) {
            seen.push(link);
        }
    }
    seen
}

/// Asks until there is an answer, or nobody has the cluster any more; then rests for a while.
async fn refresh(cluster: Weak<Cluster>) {
    let mut pause = FIRST_PAUSE;
    while let Some(cluster) = cluster.upgrade() {
        let answer = cluster.ask().await;
        let answered = answer.is_ok();
        match answer {
            Ok(layout) => cluster.learn(layout),
            Err(error) => {
                cluster.state.send_if_modified(|state| {
                    let lost = !matches!(state, State::Known(_));
                    if lost {
                        *state = State::Lost(why_lost(error));
                    }
                    lost
                });
            }
        }
        drop(cluster);
        tokio::time::sleep(pause).await;
        if answered {
            break;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    if let Some(cluster) = cluster.upgrade() {
        cluster.asking.store(false, Ordering::Release);
    }
}

fn why_lost(error: FarError) -> String {
    match error {
        FarError::Unavailable(words) | FarError::Refused(words) => words,
        FarError::Late => "no node of the cluster answers".to_owned(),
    }
}
