//! The page of a timeline, and of a dashboard, in a real browser.
//!
//! `cargo test --features dashboard --test browser -- --ignored`, with Debian's `chromium`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the page is made to do, and what it then says of itself.
const DRIVER: &str = r##"
<script>
"use strict";
// Not the browser's next frame: in headless time that may never come.
const wait = async () => drawAll();
(async () => {
  const say = {}, body = document.body;
  say.title = document.title;
  say.summary = $("summary").textContent;
  say.origin = $("origin").textContent;
  say.tasks = +body.dataset.tasks;
  say.rows = $("functions").querySelectorAll("tr").length;
  say.events = $("events").textContent;
  const paint = canvas => { const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data; const colors = new Set(); for (let i = 0; i < data.length; i += 4) colors.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]); return colors.size; };
  say.colors = paint($("tasks"));
  say.charts = CHARTS.map(chart => paint(chart.canvas));
  say.all = [from, to];
  const before = performance.now();
  for (let i = 0; i < 10; i++) drawAll();
  say.redraw = (performance.now() - before) / 10;
  const box = $("view").getBoundingClientRect();
  $("view").dispatchEvent(new WheelEvent("wheel", { deltaY: -1000, clientX: box.left + box.width / 2, clientY: box.top + 50, bubbles: true, cancelable: true }));
  await wait();
  say.zoomed = [from, to];
  say.hash = location.hash;
  dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
  await wait();
  say.moved = [from, to];
  $("all").click();
  await wait();
  say.again = [from, to];
  // The row of the longest task goes to it, and keeps its text.
  $("longest").querySelector("tr").click();
  await wait();
  say.longest = [from, to, tasks.ran[pinned]];
  say.tip = $("tip").textContent;
  say.most = Math.max(...tasks.ran);
  say.labels = body.dataset.labels.split("|");
  dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  say.unpinned = pinned === null && $("tip").style.display === "none";
  // So does a click on its bar; the page then moves no more with the pointer.
  const task = visible(lanes[layout.find(({ kind }) => kind === "single").index])[0], lane = layout.find(({ index }) => index === tasks.lane[task]);
  show(tasks.began[task] - 1e5, tasks.ended[task] + 1e5);
  await wait();
  const place = $("tasks").getBoundingClientRect();
  const there = { clientX: place.left + at((tasks.began[task] + tasks.ended[task]) / 2, $("tasks").clientWidth), clientY: place.top + layout.find(({ index }) => index === tasks.lane[task]).top + 5, bubbles: true };
  $("tasks").dispatchEvent(new PointerEvent("pointermove", there));
  const shown = $("tip").textContent;
  for (const kind of ["pointerdown", "pointerup"]) $("tasks").dispatchEvent(new PointerEvent(kind, there));
  say.pinned = pinned !== null && $("tip").textContent === shown;
  $("tasks").dispatchEvent(new PointerEvent("pointerleave"));
  say.pinned &&= $("tip").style.display === "block";
  dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  // Axis labels tell neighbours apart, however near one looks.
  show(duration / 2, duration / 2 + 100);
  await wait();
  say.near = body.dataset.labels.split("|");
  // Ten bodies at a time are a density, and ten rows from near.
  show(0, duration);
  await wait();
  say.kinds = body.dataset.kinds.split(" ");
  const waits = functions.findIndex(name => name.endsWith("::wait")), one = tasks.fn.indexOf(waits);
  show(tasks.began[one] - 1e6, tasks.ended[one] + 1e6);
  await wait();
  say.kindsNear = body.dataset.kinds.split(" ");
  // Before its first sample a curve of memory has no value: it does not fall from nothing to the left edge.
  say.before = CHARTS[2].series($("tasks").clientWidth).map(({ values }) => values.some(value => value === 0 && !memory.program.includes(0)));
  show(0, duration);
  $("search").value = "DANGEROUS"; $("search").dispatchEvent(new Event("input"));
  say.found = [...$("functions").querySelectorAll("tr")].filter(row => !row.hidden).map(row => row.textContent);
  say.longestFound = [...$("longest").querySelectorAll("tr")].every(row => row.textContent.includes("dangerous"));
  $("search").value = ""; $("search").dispatchEvent(new Event("input"));
  await wait();
  const drawn = +body.dataset.drawn;
  for (let fn = 0; fn < functions.length; fn++) $("functions").querySelectorAll("tr")[fn].click();
  await wait();
  say.hidden = [drawn, +body.dataset.drawn];
  // The server forgets its first tasks; so does a page that has them, and one that was opened later keeps what it has.
  const none = () => ({ duration, leftOut: 0, forgotten, pools: [], lanes: [], functions: [], marks: [], memory: { at: [], program: [], workers: [], shared: [] },
    tasks: { began: [], waited: [], ran: [], lane: [], fn: [], items: [], fate: [], pid: [] } });
  const had = count;
  add({ ...none(), forgotten: 10 });
  say.forgotten = had - count;
  add({ ...none(), forgotten: 1000000 });
  const two = { began: [5, 1], waited: [1, 1], ran: [2, 2], lane: [0, 0], fn: [0, 0], items: [1, 1], fate: [0, 0], pid: [1, 1] };
  for (let i = 0; i < 3; i++) add({ ...none(), tasks: two });
  say.kept = count;
  tables(); await wait();
  return say;
})().then(say => document.body.dataset.said = JSON.stringify(say), error => document.body.dataset.said = JSON.stringify({ error: String(error) + error.stack }));
</script>
"##;

/// The page as it is after a while, written out.
fn browse(address: &str, profile: &Path) -> String {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000", "--virtual-time-budget=20000"])
        // Nothing may be loaded from anywhere.
        .args([
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--disable-background-networking",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(address)
        .output()
        .expect("chromium can be started: `apt install chromium`");
    let _ = std::fs::remove_dir_all(profile);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("parallel-browser-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
#[ignore = "needs chromium (`apt install chromium`): cargo test --test browser -- --ignored"]
fn a_timeline_of_a_hundred_thousand_tasks_is_shown_and_can_be_moved_about_in() {
    let folder = folder("timeline");
    let page = folder.join("run.html");
    let program = Command::new(env!("CARGO_BIN_EXE_parallel-test-program"))
        .args(["observed", "100000"])
        .env("PARALLEL_TIMELINE", &page)
        .output()
        .unwrap();
    assert!(program.status.success(), "{}", String::from_utf8_lossy(&program.stderr));

    let text = std::fs::read_to_string(&page).unwrap();
    for outside in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!text.contains(outside), "the page refers to something outside of it: {outside}");
    }
    let driven = folder.join("driven.html");
    std::fs::write(&driven, text.replace("</body>", &format!("{DRIVER}</body>"))).unwrap();
    let dom = browse(&format!("file://{}", driven.display()), &folder.join("profile"));
    let said = dom.split_once("data-said=\"").expect("the driver has run").1.split_once('"').unwrap().0;
    let said: serde_json::Value = serde_json::from_str(&said.replace("&quot;", "\"").replace("&amp;", "&")).unwrap();
    println!("{said:#}");
    assert!(said["error"].is_null());

    let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    let pair = |name: &str| [0, 1].map(|index| said[name][index].as_f64().unwrap());
    assert_eq!(text("title"), "parallel-test-program: timeline");
    assert!(said["tasks"].as_u64().unwrap() > 100_000);
    assert_eq!(said["rows"], 4);
    assert!(text("summary").contains("2 processes") && text("summary").contains("2 threads"));
    assert!(text("events").contains("SIGABRT") && text("events").contains("timed out"));
    assert!(said["colors"].as_u64().unwrap() > 10, "there are bars");
    assert!(said["charts"].as_array().unwrap().iter().all(|colors| colors.as_u64().unwrap() > 2), "and curves");
    let (all, zoomed, moved) = (pair("all"), pair("zoomed"), pair("moved"));
    assert!(zoomed[0] > all[0] && zoomed[1] < all[1] && moved[0] > zoomed[0] && moved[1] > zoomed[1]);
    assert_eq!(text("hash"), format!("#{:.0}-{:.0}", zoomed[0], zoomed[1]));
    assert_eq!(pair("again"), all);
    assert!(text("tip").contains("ran") && text("tip").contains("process"), "{}", text("tip"));
    assert!(text("origin").contains("observed 100000"), "{}", text("origin"));
    let longest = &said["longest"];
    assert_eq!(longest[2], said["most"]);
    assert!((longest[1].as_f64().unwrap() - longest[0].as_f64().unwrap()) < 3.0 * longest[2].as_f64().unwrap());
    assert_eq!((&said["unpinned"], &said["pinned"]), (&true.into(), &true.into()));
    let near: Vec<_> = said["near"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
    let different: std::collections::HashSet<_> = near.iter().collect();
    assert!(near.len() > 3 && different.len() == near.len(), "labels of the axis are the same: {near:?}");
    let has = |name: &str, kind: &str| said[name].as_array().unwrap().iter().any(|other| other == kind);
    assert!(has("kinds", "dense") && !has("kinds", "rows") && has("kindsNear", "rows"), "{said:#}");
    assert_eq!(said["before"], serde_json::json!([false, false, false]));
    let found = said["found"].as_array().unwrap();
    assert!(found.len() == 1 && found[0].as_str().unwrap().contains("dangerous") && said["longestFound"] == true);
    assert_eq!((&said["forgotten"], &said["kept"]), (&10.into(), &6.into()));
    let [shown, hidden] = pair("hidden");
    assert!(shown > 100.0 && hidden == 0.0);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A port that is free now.
#[cfg(feature = "dashboard")]
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[cfg(feature = "dashboard")]
#[test]
#[ignore = "needs chromium (`apt install chromium`): cargo test --features dashboard --test browser -- --ignored"]
fn a_dashboard_shows_what_runs_while_workers_are_killed() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let folder = folder("dashboard");
    let address = format!("127.0.0.1:{}", free_port());
    let mut program = Command::new(env!("CARGO_BIN_EXE_parallel-test-program"))
        .args(["live"])
        .env("PARALLEL_DASHBOARD", &address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), format!("parallel-runtime: the dashboard is at http://{address}/"));
    let dom = browse(&format!("http://{address}/"), &folder.join("profile"));
    // The program ends although a page may still ask.
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());

    let number = |name: &str| -> u64 {
        let after = dom.split_once(&format!("data-{name}=\"")).unwrap_or_else(|| panic!("no {name}: {dom}")).1;
        after.split_once('"').unwrap().0.parse().unwrap()
    };
    assert!(number("heard") > 3, "{} events", number("heard"));
    assert!(number("tasks") > 100 && number("drawn") > 100, "{} tasks", number("tasks"));
    let part = |id: &str| {
        let after = dom.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}: {dom}")).1;
        after.split_once("</tbody>").unwrap().0.to_owned()
    };
    let (pools, running, events) = (part("pools"), part("running"), part("events"));
    assert!(pools.contains("crashing: 2 processes") && pools.contains("2 threads"), "{pools}");
    assert!(running.contains("::stay") && running.contains("process ") && running.contains("thread "), "{running}");
    assert!(events.contains("SIGABRT"), "{events}");
    std::fs::remove_dir_all(folder).unwrap();
}
