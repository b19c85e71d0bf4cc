//! The page of a timeline, in a real browser.
//!
//! `cargo test --test browser -- --ignored`, with Debian's `chromium`.

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
  // The longest task is wide enough to point at.
  let most = 0;
  for (let i = 0; i < count; i++) if (tasks.lane[i] >= 0 && tasks.ran[i] > tasks.ran[most]) most = i;
  const place = $("tasks").getBoundingClientRect(), lane = tops[tasks.lane[most]];
  const x = place.left + at((began[most] + ended[most]) / 2, $("tasks").clientWidth), y = place.top + lane.top + tasks.track[most] * lane.track + lane.track / 2;
  $("tasks").dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y, bubbles: true }));
  say.tip = $("tip").textContent;
  const drawn = +body.dataset.drawn;
  $("functions").querySelectorAll("tr").forEach(row => row.click());
  await wait();
  say.hidden = [drawn, +body.dataset.drawn];
  return say;
})().then(say => document.body.dataset.said = JSON.stringify(say), error => document.body.dataset.said = JSON.stringify({ error: String(error) + error.stack }));
</script>
"##;

fn browse(page: &Path) -> String {
    let profile = page.with_extension("profile");
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000", "--virtual-time-budget=20000"])
        // Nothing may be loaded from anywhere.
        .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium can be started: `apt install chromium`");
    let _ = std::fs::remove_dir_all(profile);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("parallel-browser-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
#[ignore = "needs chromium (`apt install chromium`): cargo test --test browser -- --ignored"]
fn a_timeline_of_a_hundred_thousand_tasks_is_shown_and_can_be_moved_about_in() {
    let folder = folder();
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
    let dom = browse(&driven);
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
    let [shown, hidden] = pair("hidden");
    assert!(shown > 100.0 && hidden == 0.0);
    std::fs::remove_dir_all(folder).unwrap();
}
