//! The whole cluster: its parts, the links between them, and how it is put in order again.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::ClusterError;
use crate::link::Link;
use crate::node::{Node, NodeOptions};
use crate::part::Part;
use crate::postgres::{self, Postgres};
use crate::redis::{self, Redis};
use crate::{HaProxy, place};

/// The database of the documents.
const DATABASE: &str = "driftless";

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many nodes.
    pub nodes: usize,
    /// What they run.
    pub node: NodeOptions,
    /// The port of PostgreSQL; 0 is a free one.
    pub postgres_port: u16,
    /// Whether links that can be hurt lie between the nodes and what they share.
    pub has_links: bool,
    /// Whether the balancer tells nodes the clients' addresses.
    pub says_who: bool,
}

/// A part by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A node, from 0.
    Node(usize),
    /// The bus.
    Redis,
    /// The store.
    Postgres,
    /// The balancer.
    Balancer,
}

/// A running cluster. It ends when this is dropped, nodes before what they need.
#[derive(Debug)]
pub struct Cluster {
    balancer: HaProxy,
    nodes: Vec<Node>,
    redis_links: Vec<Link>,
    postgres_links: Vec<Link>,
    redis: Redis,
    postgres: Postgres,
    folder: TempDir,
}

impl Cluster {
    /// Starts everything and waits until it works.
    pub fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let folder = place::temporary_folder()?;
        let mut postgres = Postgres::new(folder.path(), options.postgres_port)?;
        let mut redis = Redis::new(folder.path())?;
        postgres.start()?;
        redis.start()?;
        postgres.wait_ready()?;
        redis.wait_ready()?;
        postgres.create_database(DATABASE)?;
        let mut cluster = Self {
            balancer: HaProxy::new(folder.path(), &[], false)?,
            nodes: Vec::new(),
            redis_links: Vec::new(),
            postgres_links: Vec::new(),
            redis,
            postgres,
            folder,
        };
        for number in 1..=options.nodes {
            cluster.add_node(number, options)?;
        }
        let ports: Vec<u16> = cluster
            .nodes
            .iter()
            .map(|node| node.process().port())
            .collect();
        cluster.balancer = HaProxy::new(cluster.folder.path(), &ports, options.says_who)?;
        cluster.put_in_order()?;
        Ok(cluster)
    }

    fn add_node(&mut self, number: usize, options: &ClusterOptions) -> Result<(), ClusterError> {
        let (mut redis, mut postgres) =
            (self.redis.process().port(), self.postgres.process().port());
        if options.has_links {
            self.redis_links.push(Link::new(redis)?);
            self.postgres_links.push(Link::new(postgres)?);
            redis = self.redis_links.last().map_or(redis, Link::port);
            postgres = self.postgres_links.last().map_or(postgres, Link::port);
        }
        let (store, bus) = (postgres::url(postgres, DATABASE), redis::url(redis));
        let node = Node::new(self.folder.path(), number, &options.node, store, bus)?;
        self.nodes.push(node);
        Ok(())
    }

    /// A part.
    pub fn part(&mut self, who: Who) -> &mut dyn Part {
        match who {
            Who::Node(node) => &mut self.nodes[node],
            Who::Redis => &mut self.redis,
            Who::Postgres => &mut self.postgres,
            Who::Balancer => &mut self.balancer,
        }
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The balancer.
    pub fn balancer(&self) -> &HaProxy {
        &self.balancer
    }

    /// The store.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The store, to be put aside and set back.
    pub fn postgres_mut(&mut self) -> &mut Postgres {
        &mut self.postgres
    }

    /// The bus.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// The link of a node to Redis, if there are links.
    pub fn redis_link(&self, node: usize) -> Option<&Link> {
        self.redis_links.get(node)
    }

    /// The link of a node to PostgreSQL, if there are links.
    pub fn postgres_link(&self, node: usize) -> Option<&Link> {
        self.postgres_links.get(node)
    }

    /// The URL of the documents' database, not over a link.
    pub fn database_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// Starts what ended although nobody asked it to, as any operator's system does.
    pub fn revive(&mut self) -> Result<(), ClusterError> {
        self.postgres.revive()?;
        self.redis.revive()?;
        self.balancer.revive()?;
        for node in &mut self.nodes {
            node.revive()?;
        }
        Ok(())
    }

    /// Heals every link, resumes what stands still, starts what is not there, and waits until all of
    /// it works.
    pub fn put_in_order(&mut self) -> Result<(), ClusterError> {
        let links = self.redis_links.iter().chain(&self.postgres_links);
        links.for_each(Link::heal);
        for who in self.everyone() {
            let part = self.part(who);
            part.resume();
            part.start()?;
        }
        for who in self.everyone() {
            self.part(who).wait_ready()?;
        }
        Ok(())
    }

    /// Stops everything in good order, nodes before what they need. Returns the names of parts that
    /// did not end by themselves with success.
    pub fn stop(&mut self) -> Vec<String> {
        self.balancer.kill();
        // All at once: each takes its time to say goodbye.
        self.nodes.iter_mut().for_each(Part::ask_to_stop);
        let rude = |part: &dyn Part| part.process().name().to_owned();
        let mut names = Vec::new();
        for node in &mut self.nodes {
            if !node.wait_stopped() {
                names.push(rude(node));
            }
        }
        if !self.redis.stop() {
            names.push(rude(&self.redis));
        }
        if !self.postgres.stop() {
            names.push(rude(&self.postgres));
        }
        names
    }

    /// Parts in the order in which they are started.
    fn everyone(&self) -> Vec<Who> {
        let nodes = (0..self.nodes.len()).map(Who::Node);
        [Who::Postgres, Who::Redis]
            .into_iter()
            .chain(nodes)
            .chain([Who::Balancer])
            .collect()
    }

    /// Where logs and data are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder behind, for whoever wants to read the logs.
    pub fn keep_folder(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_path_buf()
    }
}
