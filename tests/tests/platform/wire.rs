//! What goes over the wire, held against the document that the server serves of itself; and what the
//! environment says of the way there.

use serde_json::{Value, json};
use synapse_tests::{
    Space,
    proxy::{Call, Fault, Proxy},
};

use crate::{PROGRAM, Site, codes, point, publish};

/// The path of the document that a call is one of, as in `/jobs/{id}/`.
fn template<'d>(document: &'d Value, call: &Call) -> &'d str {
    let path = call.path.split('?').next().unwrap();
    let own: Vec<&str> = path.split('/').collect();
    let paths = document["paths"].as_object().unwrap();
    let fits = |template: &&String| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == own.len()
            && parts
                .iter()
                .zip(&own)
                .all(|(part, own)| part == own || (part.starts_with('{') && !own.is_empty()))
    };
    let mut found: Vec<&String> = paths.keys().filter(fits).collect();
    // What is written out says more than what stands for anything.
    found.sort_by_key(|template| template.matches('{').count());
    found
        .first()
        .unwrap_or_else(|| panic!("{} {path} is not in the document", call.method))
}

/// Panics unless a value satisfies the schema at a place of the document.
fn expect_fits(document: &Value, place: &str, value: &Value, what: &str) {
    let mut schema = document.clone();
    schema["$ref"] = json!(format!("#{place}"));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{what}: {problems:#?}\n{value:#}");
}

fn escaped(path: &str) -> String {
    path.replace('~', "~0").replace('/', "~1")
}

/// The fields of a multipart body, files as null.
fn form(call: &Call) -> Value {
    let kind = call.header("content-type").unwrap();
    let edge = kind.split("boundary=").nth(1).unwrap();
    let mut fields = serde_json::Map::new();
    for part in call.text.split(&format!("--{edge}")) {
        let Some((head, body)) = part.split_once("\r\n\r\n") else {
            continue;
        };
        let name = head
            .split("name=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let value = if head.contains("filename=") {
            Value::Null
        } else {
            json!(body.trim_end_matches("\r\n"))
        };
        fields.insert(name.unwrap().to_owned(), value);
    }
    Value::Object(fields)
}

#[test]
fn every_call_of_a_publish_fits_the_document() {
    let site = Site::start();
    let document = site.serving.get("/openapi.json").expect(200);
    let proxy = Proxy::start(site.serving.host(), |_| Fault::None);
    let mut space = Space::workspace(PROGRAM);
    point(&mut space, &proxy.url, &site.serving.token);
    publish(&space, &["--all"]).expect(0);
    publish(&space, &["--all", "--debug"]).expect(0);
    let status = space
        .synapse(&["status", "--all", "--json"])
        .expect(0)
        .json();
    assert_eq!(status["ok"], true);
    let calls = proxy.calls();
    assert!(calls.len() > 28, "{}", calls.len());
    for call in &calls {
        let template = template(&document, call);
        let method = call.method.to_ascii_lowercase();
        let operation = &document["paths"][template][&method];
        let what = format!("{} {}", call.method, call.path);
        assert!(operation.is_object(), "{what}");
        let (status, body) = call.reply.as_ref().unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let place = format!("/paths/{}/{method}/responses", escaped(template));
        let code = status.to_string();
        let named = operation["responses"]
            .get(&code)
            .map_or("default", |_| &code);
        let response = &operation["responses"][named];
        let base = match response["$ref"].as_str() {
            Some(at) => at.trim_start_matches('#').to_owned(),
            None => format!("{place}/{named}"),
        };
        let schema = format!("{base}/content/application~1json/schema");
        expect_fits(&document, &schema, &body, &what);
        if call.method != "POST" {
            continue;
        }
        let content = &operation["requestBody"]["content"]["multipart/form-data"];
        let schema = match content["schema"]["$ref"].as_str() {
            Some(at) => document.pointer(at.trim_start_matches('#')).unwrap(),
            None => &content["schema"],
        };
        let known = schema["properties"].as_object().unwrap();
        let sent = form(call);
        for name in sent.as_object().unwrap().keys() {
            assert!(known.contains_key(name), "{what} sends {name}");
        }
        let config: Value = serde_json::from_str(sent["config"].as_str().unwrap()).unwrap();
        assert_eq!(config["code"], sent["plugin"]);
        assert!(config["synapse_content_digest"].is_string());
    }
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let proxy = Proxy::start("127.0.0.1:9", |_| {
        Fault::Answer(401, String::new(), r#"{"detail": "No."}"#.to_owned())
    });
    let mut space = Space::new(PROGRAM);
    space.tiny_plugin(".", "proxied");
    point(&mut space, "http://platform.test", "some-token");
    space.set("HTTP_PROXY", &proxy.url);
    let refused = publish(&space, &[]);
    assert_eq!(codes(&refused), ["insecure-host"]);
    assert!(proxy.calls().is_empty(), "nothing was sent");
    let refused = publish(&space, &["--allow-http"]).expect(3);
    assert_eq!(codes(&refused), ["not-authenticated"]);
    assert!(
        proxy.calls()[0]
            .path
            .starts_with("http://platform.test/plugin_releases/")
    );
    space.set("NO_PROXY", "platform.test");
    space.set("SYNAPSE_HTTP_RETRIES", "0");
    let before = proxy.calls().len();
    let refused = publish(&space, &["--allow-http"]).expect(3);
    assert_eq!(codes(&refused), ["target-unavailable"]);
    assert_eq!(proxy.calls().len(), before);
}

#[test]
fn a_redirect_on_the_same_server_is_followed_and_no_other() {
    let site = Site::start();
    let own = site.serving.host().to_owned();
    let proxy = Proxy::start(&own, |call| {
        if call.method == "GET" && !call.path.contains("moved") {
            let to = format!("Location: {}&moved=1\r\n", call.path);
            Fault::Answer(301, to, String::new())
        } else {
            Fault::None
        }
    });
    let mut space = Space::new(PROGRAM);
    space.tiny_plugin(".", "moved");
    point(&mut space, &proxy.url, &site.serving.token);
    publish(&space, &[]).expect(0);
    let tokens = |call: &&Call| call.header("synapse-access-token").is_some();
    assert_eq!(
        proxy.calls().iter().filter(tokens).count(),
        proxy.calls().len()
    );
    assert_eq!(site.releases("moved").len(), 1);
}
