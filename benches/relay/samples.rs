//! Everything that was measured, by name.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

/// Samples of one quantity.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The value that so many hundredths of the samples do not exceed.
    pub fn percentile(&self, hundredths: usize) -> f64 {
        let sorted = self.sorted();
        let at = (sorted.len() * hundredths).div_ceil(100);
        sorted[at.max(1) - 1]
    }

    /// The value in the middle, or between the two in the middle.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let half = sorted.len() / 2;
        if sorted.len() % 2 == 1 { sorted[half] } else { sorted[half - 1].midpoint(sorted[half]) }
    }

    pub fn least(&self) -> f64 {
        self.percentile(0)
    }

    pub fn most(&self) -> f64 {
        self.percentile(100)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Results(BTreeMap<String, Samples>);

impl Results {
    pub fn add(&mut self, name: &str, value: f64) {
        self.0.entry(name.to_owned()).or_default().0.push(value);
    }

    /// A point of a curve: the curves' names have slashes, as no others have.
    pub fn add_to(&mut self, curve: &str, x: f64, value: f64) {
        self.add(&format!("{curve}/{x}"), value);
    }

    /// A curve's points, from left to right.
    pub fn curve(&self, curve: &str) -> Vec<(f64, &Samples)> {
        let x = |name: &str| name.strip_prefix(curve)?.strip_prefix('/')?.parse::<f64>().ok();
        let points = self.0.iter().filter_map(|(name, samples)| Some((x(name)?, samples)));
        let mut points: Vec<_> = points.collect();
        points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        points
    }

    /// How the samples of one compare to those of another that were taken in turns with them.
    pub fn share(&self, of: &str, in_terms_of: &str) -> Option<Samples> {
        let (of, whole) = (self.get(of)?, self.get(in_terms_of)?);
        Some(Samples(of.0.iter().zip(&whole.0).map(|(of, whole)| of / whole).collect()))
    }

    /// What was measured under this name, if anything was.
    pub fn get(&self, name: &str) -> Option<&Samples> {
        self.0.get(name)
    }

    pub fn json(&self) -> Value {
        self.0.iter().map(|(name, samples)| (name.clone(), json!(samples.0))).collect::<serde_json::Map<_, _>>().into()
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, samples) in &self.0 {
            let (least, most, count) = (samples.least(), samples.most(), samples.count());
            writeln!(f, "{name}: {:.2} ({least:.2} to {most:.2}, {count} times)", samples.median())?;
        }
        Ok(())
    }
}
