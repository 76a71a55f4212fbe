//! The file that a container image runs.

use super::choice::normalised;
use crate::registry::artifact::Unsupported;

/// What of an image's configuration matters here (OCI image specification, "Image Configuration"; Docker's is alike).
#[derive(serde::Deserialize)]
struct Image {
    config: Option<Execution>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
}

/// The path of the image's entrypoint from the root, where it names one: as for engines, the first of `Entrypoint`, or
/// else of `Cmd`, from `WorkingDir` on.
pub(in crate::registry) fn entrypoint(config: &[u8]) -> Result<Option<Vec<u8>>, Unsupported> {
    let image: Image = serde_json::from_slice(config).map_err(|_| Unsupported::ImageConfig)?;
    let Some(Execution { entrypoint, cmd, working_dir }) = image.config else { return Ok(None) };
    let command = entrypoint.unwrap_or_default().into_iter().chain(cmd.unwrap_or_default()).next();
    let path = command.filter(|command| !command.is_empty()).map(|command| {
        let folder = working_dir.filter(|_| !command.starts_with('/')).unwrap_or_default();
        normalised(format!("{folder}/{command}").as_bytes())
    });
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &str) -> Option<String> {
        entrypoint(config.as_bytes()).unwrap().map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn the_entrypoint_is_found_from_the_root() {
        assert_eq!(of(r#"{"config": {"Entrypoint": ["/app/run.wasm", "x"]}}"#).unwrap(), "app/run.wasm");
        assert_eq!(of(r#"{"config": {"Entrypoint": ["./run"], "WorkingDir": "/app/"}}"#).unwrap(), "app/run");
        assert_eq!(of(r#"{"config": {"Entrypoint": ["/run"], "WorkingDir": "/app"}}"#).unwrap(), "run");
        assert_eq!(of(r#"{"config": {"Entrypoint": null, "Cmd": ["run.wasm"]}}"#).unwrap(), "run.wasm");
        assert_eq!(of(r#"{"config": {"Entrypoint": ["a"], "Cmd": ["b"]}}"#).unwrap(), "a");
    }

    #[test]
    fn an_image_may_run_nothing() {
        for config in ["{}", r#"{"config": null}"#, r#"{"config": {"Cmd": []}}"#, r#"{"config": {"Cmd": [""]}}"#] {
            assert_eq!(of(config), None, "{config}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for config in ["", "[]x", r#"{"config": {"Entrypoint": "sh"}}"#] {
            assert_eq!(entrypoint(config.as_bytes()), Err(Unsupported::ImageConfig), "{config}");
        }
    }
}
