//! The volumes of a Pod: folders that hold what Secrets, `ConfigMaps`, tokens and the Pod's own fields say.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::PathBuf, sync::Arc};

use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{
            ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccount, ServiceAccountTokenProjection,
            Volume, VolumeProjection,
        },
    },
};
use kube::{Api, api::PostParams};
use tokio::sync::OnceCell;

use super::{
    environment,
    node::Node,
    sandbox::is_root,
    writer::{self, File, Payload},
};

/// The permissions of files, unless a volume says others.
const MODE: i32 = 0o644;
/// Of a token where the Pod has a group for its volumes: nobody else may read it then.
const TOKEN_MODE: i32 = 0o640;

/// The volumes of one Pod.
pub struct Volumes {
    node: Arc<Node>,
    pod: Arc<Pod>,
    address: Ipv4Addr,
    /// A token is asked for once: a test is over long before it expires.
    token: OnceCell<String>,
}

impl Volumes {
    pub fn new(node: Arc<Node>, pod: Arc<Pod>, address: Ipv4Addr) -> Self {
        Self { node, pod, address, token: OnceCell::new() }
    }

    /// Where a volume is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.node.dir(self.pod.metadata.uid.as_deref().unwrap_or_default()).join("volumes").join(name)
    }

    /// Makes every volume hold what it should hold now.
    ///
    /// # Errors
    /// Where something is missing that is not optional. That volume stays as it is.
    pub async fn write(&self) -> Result<(), String> {
        let mut result = Ok(());
        for volume in self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            if let Err(error) = self.write_one(volume).await {
                result = Err(format!("MountVolume.SetUp failed for volume {:?}: {error}", volume.name));
            }
        }
        result
    }

    async fn write_one(&self, volume: &Volume) -> Result<(), String> {
        let dir = self.path(&volume.name);
        let group = self.group();
        // Nobody measures what is in it: a limit of its size holds on a real node only.
        let payload = if volume.empty_dir.is_some() { None } else { Some(self.payload(volume).await?) };
        let is_new = !dir.exists();
        let write = || {
            fs::create_dir_all(&dir)?;
            match &payload {
                Some(payload) => {
                    writer::open(&dir, 0o755, group)?;
                    writer::write(&dir, payload, group).map(drop)
                }
                None if is_new => writer::open(&dir, 0o777, group),
                None => Ok(()),
            }
        };
        write().map_err(|error| error.to_string())
    }

    /// The group that its files belong to. Only root may give files away; without it there is but one user.
    fn group(&self) -> Option<u32> {
        let group = self.pod.spec.as_ref()?.security_context.as_ref()?.fs_group.filter(|_| is_root())?;
        u32::try_from(group).ok()
    }

    async fn payload(&self, volume: &Volume) -> Result<Payload, String> {
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let mode = secret.default_mode.unwrap_or(MODE);
            return self.secret(name, secret.items.as_deref(), secret.optional, mode).await;
        }
        if let Some(map) = &volume.config_map {
            return self
                .config_map(&map.name, map.items.as_deref(), map.optional, map.default_mode.unwrap_or(MODE))
                .await;
        }
        if let Some(downward) = &volume.downward_api {
            return self.fields(downward.items.as_deref(), downward.default_mode.unwrap_or(MODE));
        }
        let projected = volume.projected.as_ref().ok_or("the stand-in for the kubelet does not know its kind")?;
        let mut payload = Payload::new();
        for source in projected.sources.iter().flatten() {
            payload.extend(self.projection(source, projected.default_mode.unwrap_or(MODE)).await?);
        }
        Ok(payload)
    }

    async fn projection(&self, source: &VolumeProjection, mode: i32) -> Result<Payload, String> {
        if let Some(secret) = &source.secret {
            return self.secret(&secret.name, secret.items.as_deref(), secret.optional, mode).await;
        }
        if let Some(map) = &source.config_map {
            return self.config_map(&map.name, map.items.as_deref(), map.optional, mode).await;
        }
        if let Some(downward) = &source.downward_api {
            return self.fields(downward.items.as_deref(), mode);
        }
        let token = source.service_account_token.as_ref();
        let token = token.ok_or("the stand-in for the kubelet does not know one of its sources")?;
        let bytes = self.token.get_or_try_init(|| self.ask_for_token(token)).await?.clone().into_bytes();
        Ok(Payload::from([(token.path.clone(), file(bytes, if self.group().is_some() { TOKEN_MODE } else { mode }))]))
    }

    async fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
    ) -> Result<Payload, String> {
        let secrets: Api<Secret> = Api::namespaced(self.node.client.clone(), &self.node.namespace);
        let found = self.node.insist(|| secrets.get_opt(name)).await.flatten();
        let data = found.map(|secret| bytes(secret.data));
        selected(&format!("secret {name:?}"), data, items, optional, mode)
    }

    async fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
    ) -> Result<Payload, String> {
        let maps: Api<ConfigMap> = Api::namespaced(self.node.client.clone(), &self.node.namespace);
        let found = self.node.insist(|| maps.get_opt(name)).await.flatten();
        let data = found.map(|map| {
            let text = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
            text.chain(bytes(map.binary_data)).collect()
        });
        selected(&format!("configmap {name:?}"), data, items, optional, mode)
    }

    fn fields(&self, items: Option<&[DownwardAPIVolumeFile]>, mode: i32) -> Result<Payload, String> {
        let mut payload = Payload::new();
        for item in items.unwrap_or_default() {
            let path = item.field_ref.as_ref().map(|selector| selector.field_path.as_str()).unwrap_or_default();
            let value = environment::field(&self.pod, self.address, path)?;
            payload.insert(item.path.clone(), file(value.into_bytes(), item.mode.unwrap_or(mode)));
        }
        Ok(payload)
    }

    /// A token of the Pod's service account that is good for as long as the Pod is there.
    async fn ask_for_token(&self, token: &ServiceAccountTokenProjection) -> Result<String, String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.node.client.clone(), &self.node.namespace);
        let account = self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: self.pod.metadata.name.clone(),
            uid: self.pod.metadata.uid.clone(),
        };
        let spec = TokenRequestSpec {
            audiences: token.audience.clone().into_iter().collect(),
            bound_object_ref: Some(bound),
            expiration_seconds: token.expiration_seconds,
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let parameters = PostParams::default();
        let ask = || accounts.create_token_request(account, &parameters, &request);
        let answer = self.node.insist(ask).await.and_then(|answer| answer.status);
        answer.map(|status| status.token).ok_or_else(|| format!("no token for service account {account:?}"))
    }
}

fn bytes(data: Option<BTreeMap<String, ByteString>>) -> BTreeMap<String, Vec<u8>> {
    data.into_iter().flatten().map(|(key, ByteString(bytes))| (key, bytes)).collect()
}

/// The files that these keys become: all of them, or those that are named.
fn selected(
    what: &str,
    data: Option<BTreeMap<String, Vec<u8>>>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
) -> Result<Payload, String> {
    let optional = optional.unwrap_or_default();
    let Some(data) = data else {
        return if optional { Ok(Payload::new()) } else { Err(format!("{what} not found")) };
    };
    let Some(items) = items else {
        return Ok(data.into_iter().map(|(key, bytes)| (key, file(bytes, mode))).collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => {
                payload.insert(item.path.clone(), file(bytes.clone(), item.mode.unwrap_or(mode)));
            }
            None if optional => {}
            None => return Err(format!("{what} has no key {:?}", item.key)),
        }
    }
    Ok(payload)
}

fn file(bytes: Vec<u8>, mode: i32) -> File {
    File { bytes, mode: u32::try_from(mode).unwrap_or(0o644) }
}
