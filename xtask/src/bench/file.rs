//! Reads of 4 KiB at random offsets, 64 at a time: from the page cache beside a plain loop and `spawn_blocking`, past it beside fio.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Options;
use super::build::Built;
use super::figures::{Ratio, field, median, table};

/// What is read from memory: more than any cache of the processor holds, and little enough to stay there.
const CACHED_BYTES: u64 = 256 << 20;
/// What is read from the disk.
const DIRECT_BYTES: u64 = 1 << 30;
/// One worker, and the threads of those who use some.
const CORES: &str = "0,1";

/// What a run gave, by read.
struct Cost {
    user_us: f64,
    system_us: f64,
    time_us: f64,
}

impl Cost {
    fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let fio = crate::process::find("fio").context("fio is missing: apt-get install fio")?;
    let seconds = if options.quick { "0.5" } else { "1" };
    let (cached, direct) = (file(built, "cached", CACHED_BYTES)?, file(built, "direct", DIRECT_BYTES)?);
    let peer = |way: &str, path: &Path| peer(built, way, path, seconds);
    let mut runs: [Vec<Cost>; 5] = Default::default();
    for round in 0..options.rounds {
        std::io::copy(&mut File::open(&cached)?, &mut std::io::sink())?;
        for turn in 0..runs.len() {
            // Rotated from round to round: who is next to whom may matter.
            let index = (round + turn) % runs.len();
            runs[index].push(match index {
                0 => peer("plain", &cached)?,
                1 => peer("ours", &cached)?,
                2 => peer("spawn-blocking", &cached)?,
                3 => peer("ours-direct", &direct)?,
                _ => by_fio(built, &fio, &direct, seconds)?,
            });
        }
    }
    let [plain, ours, blocking, direct, by_fio] = &runs;
    let row = |what: &str, runs: &[Cost]| {
        let of = |part: fn(&Cost) -> f64| median(runs.iter().map(part));
        let (user, system) = (of(|cost| cost.user_us), of(|cost| cost.system_us));
        let (cpu, rate) = (of(Cost::cpu_us), of(|cost| 1e6 / cost.time_us));
        format!("| {what} | {user:.2} | {system:.2} | {cpu:.2} | {rate:.0} |\n")
    };
    let by = |runs: &[Cost], part: fn(&Cost) -> f64| runs.iter().map(part).collect::<Vec<_>>();
    let cpu = |runs: &[Cost]| by(runs, Cost::cpu_us);
    let ratios = [
        Ratio::new("cached, CPU / plain loop", &cpu(ours), &cpu(plain), Some(1.25)),
        Ratio::new("cached, CPU / spawn_blocking", &cpu(ours), &cpu(blocking), Some(0.15)),
        // 0.95 of its reads a second.
        Ratio::new(
            "direct, time / fio",
            &by(direct, |cost| cost.time_us),
            &by(by_fio, |cost| cost.time_us),
            Some(1.0 / 0.95),
        ),
        Ratio::new("direct, CPU / fio", &cpu(direct), &cpu(by_fio), None),
    ];
    Ok(format!(
        "4 KiB at random offsets, 64 at a time, from a file of 256 MiB in the page cache, and of 1 GiB past it (`O_DIRECT`); {seconds} s \
         each in turn on cores {CORES}. CPU in µs a read; medians.\n\n\
         | reads | user | system | CPU | reads/s |\n| --- | --- | --- | --- | --- |\n{}{}{}{}{}\n### Ratios\n\n{}",
        row("**millstream**, cached", ours),
        row("loop of `preadv2(RWF_NOWAIT)`, cached", plain),
        row("tokio's `spawn_blocking` with `pread`, cached", blocking),
        row("**millstream**, direct", direct),
        row("`fio --ioengine=io_uring --iodepth=64`, direct", by_fio),
        table(&ratios),
    ))
}

/// A file of this size, of bytes that no disk can leave out.
fn file(built: &Built, name: &str, size: u64) -> Result<PathBuf> {
    let path = built.peer(&format!("bench-file-{name}"));
    if path.metadata().is_ok_and(|there| there.len() == size) {
        return Ok(path);
    }
    let mut file = BufWriter::new(File::create(&path)?);
    std::io::copy(&mut File::open("/dev/urandom")?.take(size), &mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(path)
}

fn peer(built: &Built, way: &str, path: &Path, seconds: &str) -> Result<Cost> {
    let mut command = built.launcher.command(&built.peer("file"), CORES);
    command.args(["--way", way, "--seconds", seconds, "--path"]).arg(path);
    let text = said(command).context(way.to_owned())?;
    let number = |name| field(&text, name).with_context(|| format!("no {name} in: {text}"));
    let reads = number("requests")?;
    Ok(Cost {
        user_us: number("cpu_user_us")? / reads,
        system_us: number("cpu_system_us")? / reads,
        time_us: number("seconds")? * 1e6 / reads,
    })
}

fn by_fio(built: &Built, fio: &Path, path: &Path, seconds: &str) -> Result<Cost> {
    let mut command = built.launcher.command(fio, CORES);
    command.args([
        "--name=read",
        "--ioengine=io_uring",
        "--direct=1",
        "--iodepth=64",
        "--bs=4k",
        "--rw=randread",
    ]);
    // As a thread: a process of its own would begin a session of its own, to which no precedence carries over.
    command.args(["--thread", "--time_based", "--output-format=json"]);
    command.arg(format!("--runtime={seconds}")).arg(format!("--filename={}", path.display()));
    let text = said(command).context("fio")?;
    // The numbers of reads come first, those of writes after them.
    let number = |name| {
        let spaced = text.replace(" : ", ":");
        field(&spaced, name).with_context(|| format!("fio says no {name}"))
    };
    let (reads, run_ms) = (number("total_ios")?, number("job_runtime")?);
    let share = |name| Ok::<_, anyhow::Error>(number(name)? / 100.0 * run_ms * 1000.0 / reads);
    Ok(Cost { user_us: share("usr_cpu")?, system_us: share("sys_cpu")?, time_us: 1e6 / number("iops")? })
}

fn said(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("it failed: {text}");
    }
    Ok(text)
}
