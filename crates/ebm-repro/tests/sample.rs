//! A report with one of everything, written to the target's `tmp/sample-report` for people to look at.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ebm_metrics::classification::calibration;
use ebm_repro::plots::{self, Axes, HeatMap, Series};
use ebm_repro::preset::Kind;
use ebm_repro::report::{ReportFile, SCHEMA, Versions, combine, write_combined, write_run};
use ebm_repro::{Preset, Report, Status};
use ebm_train::logs::ImageGrid;

const PRESET: &str = r#"
[experiment]
title = "A joint energy-based classifier of the 8x8 digits (sample report, invented numbers)"
paper = "Your Classifier is Secretly an Energy Based Model (arXiv:1912.03263)"
feature = "jem"
minutes = 5
unverified = ["sampler.noise_scale"]
[data]
n_train = 1000
[model]
width = 64
hidden = [128, 128]
[sampler]
step_size = 1.0
noise_scale = 0.01
n_steps = 20
[trainer]
n_steps = 3000
[[controls]]
name = "ce-twin"
[[gates]]
name = "accuracy"
claim = "The accuracy on the test part is at least that of the twin trained by cross-entropy alone, less 2 points."
op = ">="
control = "ce-twin"
margin = -0.02
[[gates]]
name = "energy-gap"
claim = "The largest |mean E(validation) - mean E(buffer)| after the first tenth stays small."
op = "<="
threshold = 4.0
[[gates]]
name = "frechet"
claim = "Upper end of the 95% interval of FD(buffer, test) / FD(noise, test) in the PCA-32 space."
op = "<="
threshold = 0.25
[[gates]]
name = "auroc-over-seeds"
claim = "Lower end of the 95% interval over seeds of the outlier AUROC."
op = ">="
threshold = 0.9
scope = "seeds"
unfavourable_end = true
"#;

/// A fixed sequence that looks random enough for a picture.
fn noise(i: usize) -> f64 {
    let x = (i as f64 * 12.9898).sin() * 43_758.545_3;
    x - x.floor() - 0.5
}

/// Roughly normal numbers around a centre.
fn cloud(n: usize, center: f64, spread: f64, salt: usize) -> Vec<f64> {
    let sum = |i: usize| (0..6).map(|k| noise(i * 6 + k + salt * 7919)).sum::<f64>();
    (0..n).map(|i| center + spread * 1.4 * sum(i)).collect()
}

fn fill(r: &mut Report, seed: u64) -> anyhow::Result<()> {
    let accuracy = 0.978 - 0.002 * seed as f64;
    r.judge_against("accuracy", accuracy, Some((accuracy - 0.012, accuracy + 0.01)), 0.985)?;
    r.judge("energy-gap", 2.345_678, None)?;
    r.judge("frechet", 0.281, Some((0.21, 0.281)))?;
    r.judge("auroc-over-seeds", 0.94 + 0.01 * seed as f64, Some((0.92, 0.96)))?;
    for (name, value) in
        [("accuracy", accuracy), ("ece", 0.0213), ("auroc noise", 0.9991), ("parameters", 58_122.0)]
    {
        r.metric(name, value);
    }
    r.control("ce-twin", &[("accuracy", 0.985), ("ece", 0.0456), ("auroc noise", f64::NAN)]);
    r.event(120, "rollback", "loss not finite; learning rate halved to 5e-4");

    r.heading("Samples");
    let digits: Vec<f32> = (0..100 * 64)
        .map(|i| {
            let (n, y, x) = (i / 64, (i / 8) % 8, i % 8);
            let (dy, dx) = (y as f32 - 3.5, x as f32 - 3.5);
            let ring = (dy.hypot(dx) - 1.0 - (n % 10) as f32 / 5.0).abs();
            (1.0 - ring).clamp(0.0, 1.0)
        })
        .collect();
    let png = ImageGrid::sized(8, 32).png(&digits, [100, 1, 8, 8])?;
    r.image_png("samples", "Replay buffer", "A hundred chains after training, not selected.", png);
    let chains: Vec<Vec<f64>> = (0..16)
        .map(|c| (0..400).map(|t| 9.0 * (-(t as f64) / 60.0).exp() + noise(t * 16 + c)).collect())
        .collect();
    let traces = plots::traces(&Axes::new("SGLD step", "energy"), &chains)?;
    r.figure_svg("chains", "Chains over time", "Sixteen chains from noise.", traces);

    r.heading("Energies and calibration");
    let lists =
        [("train", -12.0, 1.5), ("test", -11.5, 1.8), ("buffer", -11.0, 1.6), ("Fashion-MNIST", -6.0, 2.5)];
    let lists: Vec<(&str, Vec<f64>)> =
        lists.iter().enumerate().map(|(i, (name, c, s))| (*name, cloud(2_000, *c, *s, i))).collect();
    let lists: Vec<(&str, &[f64])> = lists.iter().map(|(name, values)| (*name, values.as_slice())).collect();
    let histograms = plots::histograms(&Axes::new("energy", ""), &lists, 60)?;
    r.figure_svg("energies", "Energies", "Low energies are likely points.", histograms);
    let confidence: Vec<f64> = (0..500).map(|i| 1.0 - (noise(i) + 0.5).powi(3) * 0.9).collect();
    let correct: Vec<bool> =
        confidence.iter().enumerate().map(|(i, c)| noise(i + 999) + 0.5 < *c * 0.95).collect();
    let (ours, twin) = (calibration(&confidence, &correct, 10)?, calibration(&confidence, &[true; 500], 10)?);
    let diagram = plots::reliability(&[("JEM", &ours.bins), ("ce-twin", &twin.bins)])?;
    r.figure_svg("reliability", "Reliability", "A calibrated classifier lies on the diagonal.", diagram);

    r.heading("Training");
    let curve = |salt: usize, floor: f64| -> Vec<(f64, f64)> {
        (0..3000)
            .map(|i| {
                (i as f64 * 20.0, floor + 2.3 * (-(i as f64) / 300.0).exp() + 0.1 * (noise(i + salt) + 0.5))
            })
            .collect()
    };
    let series =
        [Series::new("loss (JEM)", curve(0, 0.05)), Series::new("loss (ce-twin)", curve(5_000, 0.01))];
    r.figure_svg(
        "loss",
        "Loss",
        "Both losses over the steps.",
        plots::lines(&Axes::new("step", "loss").log_y(), &series)?,
    );
    let points = |salt: usize, c: f64| {
        cloud(800, c, 1.0, salt).into_iter().zip(cloud(800, -c, 0.7, salt + 9)).collect()
    };
    let series = [Series::new("data", points(20, 1.0)), Series::new("samples", points(40, -1.0))];
    r.figure_svg(
        "scatter",
        "Features",
        "Two principal components.",
        plots::scatter(&Axes::new("PC 1", "PC 2"), &series)?,
    );
    let values: Vec<f64> = (0..64 * 64)
        .map(|i| {
            let (x, y) = ((i % 64) as f64 / 8.0 - 4.0, (i / 64) as f64 / 8.0 - 4.0);
            (0..8)
                .map(|k| {
                    let a = f64::from(k) * std::f64::consts::FRAC_PI_4;
                    (-((x - 2.5 * a.cos()).powi(2) + (y - 2.5 * a.sin()).powi(2)) / 0.2).exp()
                })
                .sum()
        })
        .collect();
    let map = HeatMap { n_x: 64, n_y: 64, x: -4.0..4.0, y: -4.0..4.0, values: &values, scale: None };
    let data: Vec<(f64, f64)> = cloud(200, 2.5, 0.2, 77).into_iter().zip(cloud(200, 0.0, 0.2, 78)).collect();
    r.figure_svg(
        "density",
        "Density",
        "Eight Gaussians; dots are data.",
        plots::heat_map(&Axes::new("x", "y"), &map, &data)?,
    );
    r.heading("Tables");
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    r.table(
        "Outliers",
        &["set", "AUROC", "95% interval"],
        vec![row(["blends", "0.912", "0.89 to 0.93"]), row(["uniform noise", "0.999", "0.998 to 1"])],
    );
    r.note("Fashion-MNIST images are 500 test images pooled to 8x8; none was used in training.");
    Ok(())
}

fn file(preset: &Preset, seed: u64, report: Report) -> (ReportFile, Vec<ebm_repro::report::Item>) {
    let findings = report.finish(Status::Complete);
    let file = ReportFile {
        schema: SCHEMA,
        experiment: preset.name().into(),
        preset: preset.kind().to_string(),
        preset_sha256: preset.sha256().into(),
        overrides: preset.overrides().clone(),
        seed,
        seeds: vec![seed],
        status: Status::Complete,
        config: preset.config_json(),
        gates: findings.gates,
        controls: findings.controls,
        metrics: findings.metrics,
        events: findings.events,
        wall_s: 215.4,
        peak_rss_bytes: 812_000_000,
        device: "cpu".into(),
        threads: 2,
        cpu: "a processor".into(),
        versions: Versions { ebm: "0".into(), git: "none".into(), libtorch: "0".into(), rustc: "0".into() },
    };
    (file, findings.items)
}

#[test]
fn a_sample_report_holds_everything_it_was_given() {
    let mut preset = Preset::parse("sample", Kind::Cpu, PRESET).unwrap();
    preset.set("sampler.step_size=0.5").unwrap();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sample-report");
    let mut runs = Vec::new();
    for seed in 0..3 {
        let mut report = Report::new(preset.gates());
        fill(&mut report, seed).unwrap();
        let (file, items) = file(&preset, seed, report);
        let own = out.join(format!("seed-{seed}"));
        fs::create_dir_all(&own).unwrap();
        write_run(&own, &file, &items, preset.info()).unwrap();
        runs.push(file);
    }
    let all = combine(&runs, preset.gates());
    write_combined(&out, &all, &runs, preset.info()).unwrap();
    let one = fs::read_to_string(out.join("seed-0/report.html")).unwrap();
    for text in [
        "modified preset",
        "sampler.step_size=0.5",
        "unverified",
        "not held",
        "not judged",
        "class=\"mark good\">held",
        "arXiv:1912.03263",
        "rollback",
        "Control: ce-twin",
        "812 MB",
        "3 min 35 s",
        "data:image/png;base64,",
        "Outliers",
        "Chains over time",
    ] {
        assert!(one.contains(text), "{text}");
    }
    // Self-contained: nothing is loaded from anywhere.
    for text in ["<script", "src=\"http", "href=\"http", "@import", "url("] {
        assert!(!one.contains(text), "{text}");
    }
    assert!(one.len() < 2_000_000, "{} bytes", one.len());
    assert_eq!(one.matches("<div").count(), one.matches("</div>").count());
    assert_eq!(one.matches("<table").count(), one.matches("</table>").count());
    let combined = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(combined.contains("seed-2/report.html") && combined.contains("seeds 0, 1, 2"));
    assert_eq!(
        all.metrics.keys().collect::<Vec<_>>(),
        BTreeMap::from_iter(runs[0].metrics.clone()).keys().collect::<Vec<_>>()
    );
}
