//! What a metric is called, and how its samples are written.

use std::fmt;

use prometheus_client::{
    encoding::{
        DescriptorEncoder, EncodeLabel as _, EncodeLabelSet, EncodeMetric as _, LabelSetEncoder, MetricEncoder,
        NoLabelSet,
    },
    metrics::{MetricType, histogram::Histogram},
    registry::Unit,
};

/// Samples of one name.
#[derive(Debug)]
pub struct Family {
    /// The name without its beginning, [`PREFIX`](super::PREFIX), and without what unit and kind add to its end.
    pub name: &'static str,
    /// What it says, for people: a sentence.
    pub help: &'static str,
    /// What it is measured in, where that is not a number of things.
    pub unit: Option<Unit>,
    /// How its samples are to be read.
    pub kind: Kind,
    /// What its samples are told apart by.
    pub labels: &'static [&'static str],
}

/// How samples are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// How much there has been since the process began.
    Counter,
    /// How much there is.
    Gauge,
    /// How often there was how much since the process began.
    Histogram,
    /// What its labels say.
    Info,
}

impl Family {
    /// Describes it, for its samples to follow.
    ///
    /// # Errors
    /// Where there is nowhere to write to.
    pub fn samples<'a>(&'a self, encoder: &'a mut DescriptorEncoder<'_>) -> Result<Samples<'a>, fmt::Error> {
        let encoder = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), self.kind.of_library())?;
        Ok(Samples { family: self, encoder })
    }

    /// What its samples are called, as one asks for them: those of a histogram have an ending besides.
    pub fn full_name(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let end = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}_{}{unit}{end}", super::PREFIX, self.name)
    }
}

impl Kind {
    /// As the text format calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    const fn of_library(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }
}

/// Where the samples of a family are put.
#[derive(Debug)]
pub struct Samples<'a> {
    family: &'a Family,
    encoder: MetricEncoder<'a>,
}

impl Samples<'_> {
    /// Adds one, with a value for each label in their order. A label without a value is left out, which means the same.
    ///
    /// # Errors
    /// Where there is nowhere to write to, or this is a histogram.
    pub fn put(&mut self, values: &[&str], value: u64) -> Result<(), fmt::Error> {
        let labels = Labels { names: self.family.labels, values };
        match self.family.kind {
            Kind::Info => self.encoder.encode_info(&labels),
            kind if labels.is_empty() => put(&mut self.encoder, kind, value),
            kind => put(&mut self.encoder.encode_family(&labels)?, kind, value),
        }
    }

    /// Adds a whole histogram; there are none with labels yet.
    ///
    /// # Errors
    /// Where there is nowhere to write to.
    pub fn put_histogram(self, histogram: &Histogram) -> Result<(), fmt::Error> {
        histogram.encode(self.encoder)
    }
}

fn put(encoder: &mut MetricEncoder<'_>, kind: Kind, value: u64) -> Result<(), fmt::Error> {
    match kind {
        Kind::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        Kind::Gauge => encoder.encode_gauge(&value),
        Kind::Histogram | Kind::Info => Err(fmt::Error),
    }
}

/// The labels of one sample.
struct Labels<'a> {
    names: &'a [&'a str],
    values: &'a [&'a str],
}

impl Labels<'_> {
    fn said(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().copied().zip(self.values.iter().copied()).filter(|(_, value)| !value.is_empty())
    }

    fn is_empty(&self) -> bool {
        self.said().next().is_none()
    }
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), fmt::Error> {
        self.said().try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{collector::Collector, encoding::text::encode, registry::Registry};

    use super::*;

    const BYTES: Family = Family {
        name: "sent",
        help: "What was sent.",
        unit: Some(Unit::Bytes),
        kind: Kind::Counter,
        labels: &["namespace", "name"],
    };

    #[derive(Debug)]
    struct Sent(Vec<([&'static str; 2], u64)>);

    impl Collector for Sent {
        fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
            let mut samples = BYTES.samples(&mut encoder)?;
            self.0.iter().try_for_each(|(values, value)| samples.put(values, *value))
        }
    }

    fn text(samples: Vec<([&'static str; 2], u64)>) -> String {
        let mut registry = Registry::with_prefix("wasmproxy");
        registry.register_collector(Box::new(Sent(samples)));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn samples_are_named_by_unit_and_kind_and_told_apart_by_labels() {
        let said = text(vec![(["edge", "line \"4\""], 7), (["edge", "hall"], 0)]);
        let expected = "# HELP wasmproxy_sent_bytes What was sent.\n\
            # TYPE wasmproxy_sent_bytes counter\n\
            # UNIT wasmproxy_sent_bytes bytes\n\
            wasmproxy_sent_bytes_total{namespace=\"edge\",name=\"line \\\"4\\\"\"} 7\n\
            wasmproxy_sent_bytes_total{namespace=\"edge\",name=\"hall\"} 0\n\
            # EOF\n";
        assert_eq!(said, expected);
        assert_eq!(BYTES.full_name(), "wasmproxy_sent_bytes_total");
    }

    #[test]
    fn what_has_no_name_has_no_label() {
        assert!(text(vec![(["", ""], 7)]).contains("\nwasmproxy_sent_bytes_total 7\n"));
        assert!(text(vec![(["edge", ""], 7)]).contains("\nwasmproxy_sent_bytes_total{namespace=\"edge\"} 7\n"));
    }
}
