//! A fake API server: list and watch as Kubernetes speaks them, over HTTP, with scripted troubles.
//!
//! It has no controllers: a test puts every object there itself. It knows resource versions, bookmarks, `410 Gone`,
//! selectors by name and by equal labels, access reviews, and Kubernetes events that are created or patched.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

mod api;
pub mod objects;

/// Where an object is: resource (`pods`), namespace (empty for nodes), name.
type Key = (String, String, String);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    /// Every connection stays open and nothing comes.
    Hanging,
    /// Every watch is cut, and every request is answered with 503.
    Stopped,
}

#[derive(Default)]
struct World {
    objects: BTreeMap<Key, Value>,
    version: u64,
    log: Vec<Change>,
    /// Watches from before this version are answered with 410.
    compacted: u64,
    refused: BTreeSet<(String, String)>,
    unauthorised: bool,
    mood: Mood,
    requests: Vec<String>,
}

#[derive(Clone)]
struct Change {
    version: u64,
    what: &'static str,
    key: Key,
    object: Value,
}

#[derive(Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    /// Counts everything that a watch could want to hear of.
    moved: watch::Sender<u64>,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.world());
        self.moved.send_modify(|count| *count += 1);
        result
    }
}

/// A running fake API server; gone when dropped.
pub struct FakeApiServer {
    url: String,
    shared: Shared,
    task: JoinHandle<()>,
}

impl FakeApiServer {
    /// Starts one on a free port of this machine.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        let shared = Shared { world: Arc::default(), moved: watch::Sender::new(0) };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = api::router(shared.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, shared, task })
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes a kubeconfig for it into this folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig(&self, folder: &Path) -> io::Result<PathBuf> {
        let path = folder.join("kubeconfig.yaml");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": "not-a-secret"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        });
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Puts an object there, or in the place of the one of this name.
    pub fn put(&self, resource: &str, mut object: Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (resource.to_owned(), text("/metadata/namespace"), text("/metadata/name"));
        self.shared.change(|world| {
            world.version += 1;
            object["metadata"]["resourceVersion"] = json!(world.version.to_string());
            let what = if world.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
            world.log.push(Change { version: world.version, what, key: key.clone(), object: object.clone() });
            world.objects.insert(key, object);
        });
    }

    /// Changes an object that is there.
    pub fn change(&self, resource: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let found = self.object(resource, namespace, name);
        if let Some(mut object) = found {
            change(&mut object);
            self.put(resource, object);
        }
    }

    #[must_use]
    pub fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.shared.world().objects.get(&(resource.into(), namespace.into(), name.into())).cloned()
    }

    #[must_use]
    pub fn objects(&self, resource: &str) -> Vec<Value> {
        let world = self.shared.world();
        world.objects.iter().filter(|((found, ..), _)| found == resource).map(|(_, object)| object.clone()).collect()
    }

    pub fn remove(&self, resource: &str, namespace: &str, name: &str) {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.shared.change(|world| {
            let Some(object) = world.objects.remove(&key) else { return };
            world.version += 1;
            world.log.push(Change { version: world.version, what: "DELETED", key, object });
        });
    }

    /// Forgets the past: watches are ended with 410 and have to list again.
    pub fn compact(&self) {
        self.shared.change(|world| {
            world.version += 1;
            world.compacted = world.version;
            world.log.clear();
        });
    }

    /// Refuses (403) or allows this verb on this resource.
    pub fn refuse(&self, verb: &str, resource: &str, refuse: bool) {
        self.shared.change(|world| {
            let rule = (verb.to_owned(), resource.to_owned());
            if refuse { world.refused.insert(rule) } else { world.refused.remove(&rule) }
        });
    }

    /// Accepts no token (401), or accepts it again.
    pub fn unauthorise(&self, unauthorised: bool) {
        self.shared.change(|world| world.unauthorised = unauthorised);
    }

    /// Behaves like this from now on.
    pub fn set(&self, mood: Mood) {
        self.shared.change(|world| world.mood = mood);
    }

    /// What was asked so far: verb, resource and namespace, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.world().requests.clone()
    }
}

impl Drop for FakeApiServer {
    fn drop(&mut self) {
        // Watches have ends of their own; this ends them now.
        self.shared.change(|world| world.mood = Mood::Stopped);
        self.task.abort();
    }
}
