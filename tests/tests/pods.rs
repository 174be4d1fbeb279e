//! Servers and a client as pods have them: new addresses after every start, process 1, no rights, DNS that may be away.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use gfs_protocol::pb;
use gfs_protocol::pb::master_client::MasterClient;
use gfs_tests::network::Network;
use gfs_tests::pod::{Node, Pod};
use gfs_tests::replicas::eventually;
use tonic::transport::Endpoint;

/// As the operator names it; with a label as long as DNS allows.
const NAME: &str = "a-cluster-whose-name-is-as-long-as-a-name-in-dns-may-be-masters.gfs.svc";
const PATIENCE: Duration = Duration::from_secs(30);
/// Far below what the resolver waits for a name server that is silent.
const PROMPT: Duration = Duration::from_secs(10);

const MASTER: &str = "\
dir: VOLUME
net: {listen: '0.0.0.0:7400', http_listen: '0.0.0.0:7401'}
chunk_size: 1MiB
";
const CHUNKSERVER: &str = "\
dir: VOLUME
net: {listen: '0.0.0.0:7500', http_listen: '0.0.0.0:7501'}
masters: ['NAME:7400']
reserve: 64MiB
";

/// As a thread that may move into another network; or says why this machine cannot.
fn in_pods(test: fn()) {
    if let Some(why) = Network::obstacle() {
        // Past the test's own output, which is shown for failures only: the task runner counts it.
        let said = writeln!(std::io::stdout(), "\nskipped: pods: {why}");
        said.expect("the task runner reads this");
        return;
    }
    std::thread::spawn(test).join().expect("the test failed: see above");
}

/// Starts a server with this volume at the address of `member`.
fn serve(node: &Node, network: &Network, member: &str, volume: &str) -> Pod {
    let role = volume.trim_end_matches(|c: char| c.is_ascii_digit());
    let text = if role == "master" { MASTER } else { CHUNKSERVER };
    let config = format!("{volume}.yaml");
    let path = node.volume(volume).unwrap();
    node.write(&config, &text.replace("VOLUME", path.to_str().unwrap()).replace("NAME", NAME))
        .unwrap();
    let (config, address) = (node.path(&config), network.address(member));
    let mut arguments = vec![role, "--config", config.to_str().unwrap(), "--advertise", &address];
    let topology = format!("zone/{member}/{volume}");
    if role == "chunkserver" {
        arguments.extend(["--topology", &topology]);
    }
    node.serve(network, member, volume, &arguments).unwrap()
}

/// Status and body of an HTTP answer.
fn get(address: &str, path: &str) -> Result<(u16, String), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = ask().map_err(|error| error.to_string())?;
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok((status.ok_or("no HTTP")?, text))
}

fn await_readiness(network: &Network, member: &str, port: u16, expected: (u16, &str)) {
    let address = format!("{}:{port}", network.address(member));
    eventually(&format!("{member} says {expected:?}"), PATIENCE, || {
        let (status, text) = get(&address, "/readyz")?;
        let good = status == expected.0 && text.contains(expected.1);
        if good { Ok(()) } else { Err(text) }
    });
}

/// As the operator does.
fn format(network: &Network, member: &str) {
    let address = format!("http://{}:7400", network.address(member));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
        let cluster = vec![7; 16].into();
        MasterClient::new(channel).format(pb::FormatRequest { cluster }).await.unwrap();
    });
}

/// One client, alive through everything that happens: `gfs batch` in a pod.
struct Talk {
    _pod: Pod,
    stdin: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Talk {
    fn start(node: &Node, network: &Network) -> Self {
        let masters = format!("{NAME}:7400");
        let arguments = ["--masters", &masters, "batch"];
        let pipes = (Stdio::piped(), Stdio::piped());
        let mut pod = node.start(network, "client", "scratch", &arguments, pipes).unwrap();
        let (stdin, stdout) = pod.pipes().unwrap();
        let (told, answers) = mpsc::channel();
        std::thread::spawn(move || pass_on(stdout, &told));
        Self { _pod: pod, stdin, answers }
    }

    /// Says a line; it must be done, and soon.
    fn say(&mut self, line: &str) -> serde_json::Value {
        writeln!(self.stdin, "{line}").unwrap();
        let answer =
            self.answers.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{line}: silence"));
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["ok"].is_object(), "{line}: {answer}");
        answer["ok"].clone()
    }
}

fn pass_on(stdout: ChildStdout, told: &mpsc::Sender<String>) {
    for line in BufReader::new(stdout).lines() {
        if line.is_err() || told.send(line.unwrap()).is_err() {
            return;
        }
    }
}

fn addresses(status: &serde_json::Value) -> Vec<(String, bool)> {
    let servers = status["chunkservers"].as_array().unwrap();
    let of = |server: &serde_json::Value| {
        (server["address"].as_str().unwrap().to_owned(), server["alive"].as_bool().unwrap())
    };
    let mut all: Vec<_> = servers.iter().map(of).collect();
    all.sort();
    all
}

#[test]
fn servers_come_back_at_other_addresses_and_work_goes_on() {
    in_pods(|| {
        let members = ["client", "m1", "m2", "a1", "b1", "c1", "a2"];
        let network = Network::new(&members).unwrap();
        network.enter("client").unwrap();
        let node = Node::new().unwrap();
        node.host(NAME, &network.address("m1")).unwrap();

        let master = serve(&node, &network, "m1", "master");
        let a = serve(&node, &network, "a1", "chunkserver1");
        let _b = serve(&node, &network, "b1", "chunkserver2");
        let _c = serve(&node, &network, "c1", "chunkserver3");
        await_readiness(&network, "m1", 7401, (503, "blank"));
        await_readiness(&network, "a1", 7501, (503, "blank"));
        assert_eq!(get(&format!("{}:7501", network.address("a1")), "/livez").unwrap().0, 200);
        format(&network, "m1");
        await_readiness(&network, "m1", 7401, (200, ""));
        for member in ["a1", "b1", "c1"] {
            await_readiness(&network, member, 7501, (200, ""));
        }

        let mut client = Talk::start(&node, &network);
        client.say("create /log");
        client.say("append /log one");
        // A master that ends in order, and one whose machine is gone: a silent address, not a refusal.
        master.terminate().unwrap();
        node.host(NAME, &network.address("m2")).unwrap();
        let master = serve(&node, &network, "m2", "master");
        client.say("append /log two");
        for other in ["client", "a1", "b1", "c1"] {
            network.cut("m2", other).unwrap();
        }
        drop(master);
        node.host(NAME, &network.address("m1")).unwrap();
        let _master = serve(&node, &network, "m1", "master");
        client.say("append /log three");

        drop(a);
        network.cut("a1", "client").unwrap();
        let _a = serve(&node, &network, "a2", "chunkserver1");
        let expected = ["a2", "b1", "c1"].map(|m| (format!("{}:7500", network.address(m)), true));
        eventually("the new address", PATIENCE, || {
            let found = addresses(&client.say("status"));
            let mut expected = expected.to_vec();
            expected.sort();
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        });
        client.say("append /log four");
        let text = client.say("read /log 0 200000")["text"].as_str().unwrap().to_owned();
        for record in ["one", "two", "three", "four"] {
            assert!(text.contains(record), "{record} is not in {text:?}");
        }
    });
}

#[test]
fn a_pod_ends_in_order_at_once_even_when_dns_is_away() {
    in_pods(|| {
        let network = Network::new(&["client", "m1", "a1", "a2", "dns"]).unwrap();
        network.enter("client").unwrap();
        let node = Node::new().unwrap();
        for asker in ["client", "a1", "a2"] {
            // It is there and takes what comes, and nobody hears it: the resolver waits.
            network.cut("dns", asker).unwrap();
            network.cut(asker, "dns").unwrap();
        }
        node.host(NAME, &network.address("m1")).unwrap();
        let master = serve(&node, &network, "m1", "master");
        let formatted = serve(&node, &network, "a1", "chunkserver1");
        await_readiness(&network, "m1", 7401, (503, "blank"));
        format(&network, "m1");
        await_readiness(&network, "a1", 7501, (200, ""));
        assert!(master.terminate().unwrap() < PROMPT);

        node.nameserver(&network.address("dns")).unwrap();
        node.host("nobody", "127.0.0.1").unwrap();
        let blank = serve(&node, &network, "a2", "chunkserver2");
        await_readiness(&network, "a2", 7501, (503, "blank"));
        await_readiness(&network, "a1", 7501, (503, "not registered"));
        // By then both wait for a name.
        std::thread::sleep(Duration::from_secs(1));
        for pod in [blank, formatted] {
            let took = pod.terminate().unwrap();
            assert!(took < PROMPT, "the end took {took:?}");
        }
    });
}
