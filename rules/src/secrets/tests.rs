//! Tests of the secret scan. Canaries are put together at run time: this repository holds none.

use super::*;

fn scanner() -> Scanner {
    Scanner::new(&[]).unwrap()
}

/// A mixed run of letters and digits, from base 32 or so.
fn letters(length: usize) -> String {
    const SET: &[u8] = b"aB3dE5fG7hJ2kL4mN6pQ8rS9tUvWxYz";
    (0..length)
        .map(|index| char::from(SET[(index * 7 + 3) % SET.len()]))
        .collect()
}

fn upper(length: usize) -> String {
    const SET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ234567";
    (0..length)
        .map(|index| char::from(SET[(index * 7 + 3) % SET.len()]))
        .collect()
}

fn pem(kind: &str) -> String {
    let dashes = "-".repeat(5);
    let body = letters(64);
    format!(
        "{dashes}BEGIN {kind}PRIVATE {}{dashes}\n{body}\n{body}\n{dashes}END…\n",
        "KEY"
    )
}

fn canaries() -> Vec<(&'static str, String)> {
    let join = |head: &str, tail: &str, rest: String| format!("{head}{tail}{rest}");
    vec![
        ("aws-access-key", join("AK", "IA", upper(16))),
        ("aws-access-key", join("AS", "IA", upper(16))),
        (
            "aws-secret-key",
            format!("aws_secret_{}_key = {}", "access", letters(40)),
        ),
        (
            "aws-secret-key",
            format!("AWS_SECRET_{}_KEY: \"{}\"", "ACCESS", letters(40)),
        ),
        ("github-token", join("gh", "p_", letters(36))),
        ("github-token", join("gh", "s_", letters(40))),
        (
            "github-fine-token",
            join(
                "github_",
                "pat_",
                format!("{}_{}", letters(22), letters(59)),
            ),
        ),
        ("gitlab-token", join("gl", "pat-", letters(20))),
        (
            "slack-token",
            join("xo", "xb-", format!("123456789012-{}", letters(24))),
        ),
        ("google-api-key", join("AI", "za", letters(35))),
        ("ai-service-key", join("sk-", "proj-", letters(48))),
        (
            "ai-service-key",
            join("sk-", "ant-", format!("api03-{}", letters(48))),
        ),
        ("openai-key", join("s", "k-", letters(48))),
        ("hugging-face-token", join("h", "f_", letters(34))),
        ("pypi-token", join("pypi-", "AgEI", letters(80))),
        ("npm-token", join("np", "m_", letters(36))),
        ("stripe-key", join("sk_", "live_", letters(24))),
        (
            "account-key",
            format!("Account{}={}==;", "Key", letters(86)),
        ),
        (
            "url-credentials",
            format!("postgres{}bob:{}@db.internal:5432/x", "://", "hunter2"),
        ),
        (
            "url-credentials",
            format!("https{}oauth2:{}@git.corp.io/a.git", "://", letters(20)),
        ),
        (
            "url-credentials",
            format!("redis{}:{}@cache:6379", "://", "s3cr3tpw"),
        ),
        ("private-key", pem("RSA ")),
        ("private-key", pem("")),
        ("private-key", pem("OPENSSH ")),
        ("private-key", pem("ENCRYPTED ")),
        ("private-key", pem("EC ").replace('\n', "\\n")),
        (
            "private-key",
            format!(
                "{{\"type\": \"service_account\", \"private_key\": \"{}\"}}",
                pem("").replace('\n', "\\n")
            ),
        ),
    ]
}

#[test]
fn every_rule_finds_its_kind() {
    let scanner = scanner();
    for (rule, canary) in canaries() {
        assert_eq!(
            scanner.scan_value(&canary).map(|(rule, _)| rule),
            Some(rule),
            "{canary}"
        );
        for text in [
            format!("x\ny\nvalue = \"{canary}\"\n"),
            format!("\n\n- {canary}"),
            format!("a\r\nb\r\n'{canary}', # note"),
        ] {
            let report = scanner.scan("src/a.py", text.as_bytes());
            assert_eq!(report.findings.len(), 1, "{rule}: {text}");
            let finding = &report.findings[0];
            assert_eq!((finding.rule, finding.line), (rule, Some(3)), "{text}");
            let shown = format!("{finding} {finding:?}");
            for part in canary.split(|char: char| !char.is_alphanumeric()) {
                assert!(part.len() < 16 || !shown.contains(part));
            }
        }
    }
    let tested: Vec<_> = canaries().iter().map(|(rule, _)| *rule).collect();
    assert!(rules().iter().all(|rule| tested.contains(&rule.id)));
}

#[test]
fn ordinary_text_is_clean() {
    let scanner = scanner();
    let dashes = "-".repeat(5);
    for text in [
        "https://user:password@host/ https://user:pass@example.com/x https://u:p@h.io",
        "postgres://postgres:postgres@localhost/db https://${USER}:${PASSWORD}@host.io",
        "f\"https://{user}:{password}@{host}/\" https://<user>:<token>@github.com/x",
        "https://x-access-token:$TOKEN@github.com https://oauth2:xxxxxxxx@gitlab.com",
        "http://localhost:8000/users/@me http://a.io:80/?mail=a:b@c.io mailto://a@b.c",
        "https://admin:changeme@example.org:8080/ http://a.b/c:d@e",
        "task-runner-with-a-very-long-name-0123456789 risk-free disk-usage sk-learn",
        "class sk-estimator-doc-link-and-more-of-it-0 {} --sk-color-fitted-level-0: #f0",
        "hf_model_name_or_path = hf_hub_download(hf_token); npm_config_registry",
        "ghp_ is the prefix; AKIA and ASIA; xoxb- tokens; glpat-; pypi-AgEI; sk_live_",
        "AKIAIOSFODNN7EXAMPLE sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx hf_XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        "aws_secret_access_key = os.environ[\"AWS_SECRET_ACCESS_KEY\"]",
        "client(aws_secret_access_key=settings.aws_secret_access_key)",
        "AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET_ACCESS_KEY }}",
        "AccountKey = get_account_key2(value) //registry.npmjs.org/:_authToken=${NPM_TOKEN}",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "git@github.com:org/repo.git git+ssh://git@github.com/org/repo.git@v1",
        &format!("if line == \"{dashes}BEGIN PRIVATE KEY{dashes}\": read_key()"),
        &format!("{dashes}BEGIN PUBLIC KEY{dashes}\n{}\n", letters(64)),
        &format!("{dashes}BEGIN CERTIFICATE{dashes}\n{}\n", letters(64)),
        "the PRIVATE KEY----- marker",
    ] {
        let report = scanner.scan("src/a.py", text.as_bytes());
        assert_eq!(report, Report::default(), "{text}");
    }
}

#[test]
fn the_source_of_this_crate_is_clean() {
    let scanner = scanner();
    let mut files = 0;
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.file_name().unwrap().to_str().unwrap();
                let report = scanner.scan(name, &std::fs::read(&path).unwrap());
                assert_eq!(report, Report::default());
                files += 1;
            }
        }
    }
    assert!(files > 5);
}

#[test]
fn names() {
    let scanner = scanner();
    for path in [
        ".env",
        "a/.env",
        ".env.local",
        ".ENV",
        ".env.production",
        ".netrc",
        "x/_netrc",
        "id_rsa",
        "keys/id_ed25519",
        "a.p12",
        "A.PFX",
        "b.jks",
        "c.kdbx",
        ".pypirc",
        ".git-credentials",
        ".aws/credentials",
        "home/.aws/credentials",
        "application_default_credentials.json",
        ".kube/config",
        "x/.synapse/config.json",
    ] {
        let report = scanner.scan(path, b"anything \0");
        assert_eq!(report.findings.len(), 1, "{path}");
        assert_eq!(report.findings[0].line, None);
        assert!(scanner.depends_on_name(path));
    }
    for path in [
        ".env.example",
        ".env.sample",
        "a/.env.template",
        "env",
        ".envrc",
        "id_rsa.pub",
        "a.pem",
        "a.key",
        "aws/credentials",
        "x.aws/credentials",
        "config.json",
        "kube/config",
        ".npmrc",
        ".docker/config.json",
        "pip.conf",
    ] {
        assert_eq!(scanner.scan(path, b"harmless"), Report::default(), "{path}");
    }
}

#[test]
fn names_with_content() {
    let scanner = scanner();
    let token = "Zm9vOmJhcmJhego";
    for (path, text) in [
        (".npmrc", format!("//registry/:_auth{}={token}", "Token")),
        (
            ".docker/config.json",
            format!("{{\"auths\": {{\"r\": {{\n\"{}\": \"{token}\"", "auth"),
        ),
        ("pip.conf", format!("[global]\npassword = {token}")),
    ] {
        assert_eq!(
            scanner.scan(path, text.as_bytes()).findings.len(),
            1,
            "{path}"
        );
        assert!(scanner.depends_on_name(path));
    }
    assert_eq!(
        scanner.scan(
            ".npmrc",
            b"//registry/:_authToken=${NPM_TOKEN}\nregistry=https://r.io"
        ),
        Report::default()
    );
    let key = scanner.scan("server.key", pem("").as_bytes());
    assert_eq!(
        (key.findings[0].rule, key.findings[0].line),
        ("private-key", Some(1))
    );
}

#[test]
fn allowed() {
    let (_, canary) = &canaries()[0];
    let scan = |allow: &[&str], path: &str, text: &str| {
        let allow: Vec<String> = allow.iter().map(|text| (*text).to_owned()).collect();
        Scanner::new(&allow).unwrap().scan(path, text.as_bytes())
    };
    let suppressed = Report {
        findings: Vec::new(),
        suppressed: true,
    };
    for (pattern, path) in [
        ("tests", "tests/a.py"),
        ("tests/", "x/tests/y/a.py"),
        ("/tests", "tests/a.py"),
        ("*.py", "x/y.py"),
        ("a/*.py", "a/b.py"),
        ("a/**/c.py", "a/b/b/c.py"),
    ] {
        assert_eq!(
            scan(&[pattern], path, canary),
            suppressed,
            "{pattern} {path}"
        );
    }
    for (pattern, path) in [
        ("/tests", "x/tests/a.py"),
        ("a/*.py", "a/b/c.py"),
        ("*.py", "a.js"),
        ("b", "ab"),
    ] {
        assert_eq!(
            scan(&[pattern], path, canary).findings.len(),
            1,
            "{pattern} {path}"
        );
    }
    assert_eq!(scan(&["tests"], "tests/a.py", "clean"), Report::default());
    assert_eq!(scan(&["aws-access-key"], "a.py", canary), Report::default());
    assert_eq!(scan(&["dotenv-file"], ".env", "A=1"), Report::default());
    assert_eq!(scan(&["dotenv-file"], ".env", canary).findings.len(), 1);
    let line = format!("a\n{canary}  # synapse: allow-secret\n");
    assert_eq!(scan(&[], "a.py", &line), Report::default());
    let other = format!("# synapse: allow-secret\n{canary}\n");
    assert_eq!(scan(&[], "a.py", &other).findings.len(), 1);
    for bad in ["", "/", "!a", "a[", "{a"] {
        assert!(Scanner::new(&[bad.to_owned()]).is_err(), "{bad}");
    }
}

#[test]
fn ids_are_stable() {
    let id = |allow: &[&str]| {
        let allow: Vec<String> = allow.iter().map(|text| (*text).to_owned()).collect();
        Scanner::new(&allow).unwrap().id().to_owned()
    };
    assert_eq!(id(&[]), "secrets.v1:[]");
    assert_eq!(id(&["b", "a", "b"]), "secrets.v1:[\"a\",\"b\"]");
}

/// Wherever the pieces are cut, the same is found on the same lines.
#[test]
fn pieces() {
    let scanner = scanner();
    let filler = crate::archive::tests::text(7000, 1);
    let mut text = Vec::new();
    for (_, canary) in canaries() {
        text.extend_from_slice(&filler[..filler.len() * 2 / 3]);
        text.extend_from_slice(format!(" {canary} \n").as_bytes());
    }
    let whole = scanner.scan("a.txt", &text);
    let lines: Vec<_> = whole.findings.iter().map(|finding| finding.line).collect();
    let expected = canaries().len();
    assert_eq!(lines.len(), expected);
    for size in [1, 7, 100, 1000, 1024, 1025, 2047, 4096, 5000, 65_536] {
        let mut scan = scanner.start("a.txt");
        for piece in text.chunks(size) {
            scan.push(piece);
        }
        assert_eq!(scan.finish(), whole, "{size}");
    }
}

#[test]
fn binary_files_are_left_alone() {
    let scanner = scanner();
    let (_, canary) = &canaries()[0];
    let text = format!("{canary}\n{}\0", "x".repeat(5000));
    for size in [1, 3000, 10_000] {
        let mut scan = scanner.start("a.bin");
        for piece in text.as_bytes().chunks(size) {
            scan.push(piece);
        }
        assert_eq!(scan.finish(), Report::default());
    }
    let late = format!("{canary}\n{}\0", "x".repeat(9000));
    assert_eq!(scanner.scan("a.txt", late.as_bytes()).findings.len(), 1);
}

#[test]
fn env_values() {
    let scanner = scanner();
    for (key, value) in [
        ("HF_TOKEN", "abc123def"),
        ("DB_PASSWORD", "hunter22"),
        ("API_KEY", "0123456789ab"),
        ("MY_API_KEY_2", "zzz111yyy"),
        ("client-secret", "qwertz99"),
        ("ANYTHING", &canaries()[0].1),
    ] {
        assert!(scanner.scan_env(key, value).is_some(), "{key}");
    }
    for (key, value) in [
        ("HF_TOKEN", "${HF_TOKEN}"),
        ("HF_TOKEN", ""),
        ("HF_TOKEN", "<your token>"),
        ("API_KEY", "your-api-key"),
        ("DB_PASSWORD", "changeme"),
        ("PASSWORD_FILE", "secret-file"),
        ("API_KEY", "/run/secrets/key"),
        ("MAX_TOKENS", "4096"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("USE_API_KEY", "true"),
        ("MODEL", "yolo11n"),
    ] {
        assert_eq!(scanner.scan_env(key, value), None, "{key}");
    }
    let allowed = Scanner::new(&["env-secret".to_owned()]).unwrap();
    assert_eq!(allowed.scan_env("HF_TOKEN", "abc123def"), None);
}
