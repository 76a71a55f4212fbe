//! The plots in docs/benchmarks/: medians, with bars from the least to the most.

use std::{fs, path::Path};

use plotters::prelude::*;

use crate::{
    lab::repository,
    samples::{Results, Samples},
};

const SIZE: (u32, u32) = (720, 420);
/// Told apart also by those who see few colours, on white and on black.
const COLOURS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];

/// One picture.
struct Plot<'a> {
    file: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    /// What they are called in the results, and to people.
    curves: &'a [(&'static str, &'static str)],
}

const PLOTS: [Plot<'_>; 5] = [
    Plot {
        file: "throughput-by-module-size.svg",
        title: "Throughput against module size",
        x: "module, MiB",
        y: "MB of the module a second",
        curves: &[("size/raw", "raw"), ("size/cache", "from the cache"), ("size/registry", "from the registry")],
    },
    Plot {
        file: "throughput-by-chunk-size.svg",
        title: "Throughput against chunk size, 64 MiB",
        x: "chunk, kB of the module",
        y: "MB of the module a second",
        curves: &[("chunk/raw", "raw"), ("chunk/cache", "from the cache")],
    },
    Plot {
        file: "throughput-by-window.svg",
        title: "Throughput against window, raw, 64 MiB",
        x: "chunks in flight",
        y: "MB of the module a second",
        curves: &[("window/near", "on one machine")],
    },
    Plot {
        file: "throughput-by-window-far.svg",
        title: "Throughput against window, raw, over 50 ms and 20 Mbit/s",
        x: "chunks in flight",
        y: "MB of the module a second",
        curves: &[("window/far", "over the link")],
    },
    Plot {
        file: "memory-by-module-size.svg",
        title: "Peak memory against module size",
        x: "module, MiB",
        y: "MiB (VmHWM)",
        curves: &[("size/memory", "registry, then cache")],
    },
];

/// Draws those whose curves were measured.
pub fn draw(results: &Results, caption: &str) {
    let folder = repository().join("docs/benchmarks");
    fs::create_dir_all(&folder).unwrap();
    for plot in PLOTS {
        if !results.curve(plot.curves[0].0).is_empty() {
            plot.draw(results, &folder, caption);
        }
    }
}

impl Plot<'_> {
    fn draw(&self, results: &Results, folder: &Path, caption: &str) {
        let curves: Vec<_> = self.curves.iter().map(|(name, label)| (results.curve(name), *label)).collect();
        let xs: Vec<f64> = curves[0].0.iter().map(|(x, _)| *x).collect();
        let most = curves.iter().flat_map(|(points, _)| points).map(|(_, samples)| samples.most()).fold(0.0, f64::max);
        let (first, last) = (xs[0], xs[xs.len() - 1]);

        let path = folder.join(self.file);
        let root = SVGBackend::new(&path, SIZE).into_drawing_area();
        root.fill(&WHITE).unwrap();
        let (chart, foot) = root.split_vertically(SIZE.1 - 24);
        let style = ("sans-serif", 14).into_font().color(&RGBColor(90, 90, 90));
        foot.draw_text(caption, &style, (12, 4)).unwrap();
        let mut chart = ChartBuilder::on(&chart)
            .caption(self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d((first * 0.9..last * 1.1).log_scale().with_key_points(xs), 0.0..most * 1.1)
            .unwrap();
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x).y_desc(self.y).x_label_formatter(&number).y_label_formatter(&number);
        mesh.label_style(("sans-serif", 15)).disable_x_mesh().light_line_style(TRANSPARENT).draw().unwrap();
        for ((points, label), colour) in curves.iter().zip(COLOURS) {
            let medians = points.iter().map(|(x, samples)| (*x, samples.median()));
            let line = LineSeries::new(medians.clone(), colour.stroke_width(2));
            let key = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2));
            chart.draw_series(line).unwrap().label(*label).legend(key);
            chart.draw_series(medians.map(|point| Circle::new(point, 3, colour.filled()))).unwrap();
            let bar = |(x, samples): &(f64, &Samples)| {
                PathElement::new(vec![(*x, samples.least()), (*x, samples.most())], colour)
            };
            chart.draw_series(points.iter().map(bar)).unwrap();
        }
        let mut labels = chart.configure_series_labels();
        labels
            .label_font(("sans-serif", 15))
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .draw()
            .unwrap();
        root.present().unwrap();
    }
}

fn number(value: &f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
