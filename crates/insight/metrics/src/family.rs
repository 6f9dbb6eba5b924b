//! Samples put in order: all rows of one name stand together, and no row is there twice.

use std::collections::HashMap;

use millstream_base::HistogramSnapshot;
use millstream_base::registry::{Sample, Value};

/// All rows of one name.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) rows: Vec<Row>,
    /// Where the row with these labels stands.
    places: HashMap<Labels, usize>,
}

pub(crate) type Labels = Vec<(&'static str, String)>;

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    pub(crate) number: Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
pub(crate) enum Number {
    Counter(u64),
    Gauge(f64),
    Histogram(Buckets),
}

/// A histogram cut to the buckets that are shown.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    /// How many values are at most [`EDGES`]`[i]`.
    pub(crate) at_most: [u64; EDGES.len()],
    pub(crate) count: u64,
    pub(crate) sum_ns: u64,
}

/// Upper edges in nanoseconds, and in seconds as OpenMetrics wants them written: 10 µs (a reply from memory) to 60 s (the
/// longest a connection waits by default), two or three a decade.
pub(crate) const EDGES: [(u64, &str); 21] = [
    (10_000, "1e-05"),
    (25_000, "2.5e-05"),
    (50_000, "5e-05"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1.0"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5.0"),
    (10_000_000_000, "10.0"),
    (30_000_000_000, "30.0"),
    (60_000_000_000, "60.0"),
];

/// Puts samples in families, in the order in which their names first appear.
///
/// Two samples with the same name and labels (a server that was started again on the same address) are added up. A sample
/// that can't be written (a name that is none, a name used for another kind before) is left out: one bad source must not
/// make the whole page unreadable.
pub(crate) fn families(samples: Vec<Sample>) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut places: HashMap<&'static str, usize> = HashMap::new();
    for sample in samples {
        let kind = kind_of(&sample.value);
        let name =
            sample.name.strip_suffix("_total").filter(|_| kind == Kind::Counter).unwrap_or(sample.name);
        if !is_writable(name, kind, &sample.labels) {
            tracing::debug!(name = sample.name, "a sample with a bad name or label is left out");
            continue;
        }
        let place = *places.entry(name).or_insert_with(|| {
            families.push(Family { name, help: sample.help, kind, rows: Vec::new(), places: HashMap::new() });
            families.len() - 1
        });
        if families[place].kind != kind {
            tracing::debug!(name, "a name used for two kinds of numbers: the later is left out");
            continue;
        }
        families[place].add(sample.labels, &sample.value);
    }
    families
}

impl Family {
    fn add(&mut self, mut labels: Labels, value: &Value) {
        labels.sort_unstable();
        let number = Number::from(value);
        match self.places.get(&labels) {
            Some(&place) => self.rows[place].number.add(number),
            None => {
                self.places.insert(labels.clone(), self.rows.len());
                self.rows.push(Row { labels, number });
            }
        }
    }
}

impl From<&Value> for Number {
    fn from(value: &Value) -> Self {
        match value {
            Value::Counter(count) => Self::Counter(*count),
            Value::Gauge(level) => Self::Gauge(*level),
            Value::Histogram(snapshot) => Self::Histogram(Buckets::from(snapshot)),
        }
    }
}

impl Number {
    fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::Counter(sum), Self::Counter(count)) => *sum = sum.wrapping_add(count),
            (Self::Gauge(sum), Self::Gauge(level)) => *sum += level,
            (Self::Histogram(sum), Self::Histogram(other)) => {
                sum.at_most.iter_mut().zip(other.at_most).for_each(|(sum, count)| *sum += count);
                sum.count += other.count;
                sum.sum_ns = sum.sum_ns.wrapping_add(other.sum_ns);
            }
            _ => debug_assert!(false, "a family has one kind"),
        }
    }
}

impl From<&HistogramSnapshot> for Buckets {
    /// A value in the bucket around an edge counts as above it, so an edge is exact within the histogram's 3.1 %.
    fn from(snapshot: &HistogramSnapshot) -> Self {
        let at_most = EDGES.map(|(nanoseconds, _)| snapshot.count_at_most(nanoseconds));
        Self { at_most, count: snapshot.count(), sum_ns: snapshot.sum() }
    }
}

fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Counter(_) => Kind::Counter,
        Value::Gauge(_) => Kind::Gauge,
        Value::Histogram(_) => Kind::Histogram,
    }
}

/// Names as OpenMetrics allows them, no label twice, `le` left to us.
fn is_writable(name: &str, kind: Kind, labels: &Labels) -> bool {
    let is_name = |name: &str| {
        let mut letters = name.bytes();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
    };
    let is_label = |(place, (label, _)): (usize, &(&str, String))| {
        let is_ours = kind == Kind::Histogram && *label == "le";
        is_name(label) && !is_ours && labels[..place].iter().all(|(earlier, _)| earlier != label)
    };
    is_name(name) && labels.iter().enumerate().all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(name: &'static str, labels: &[(&'static str, &str)], count: u64) -> Sample {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Sample { name, help: "help", labels, value: Value::Counter(count) }
    }

    #[test]
    fn rows_of_one_name_stand_together_whatever_lies_between() {
        let samples =
            vec![counter("a", &[("x", "1")], 1), counter("b", &[], 2), counter("a", &[("x", "2")], 3)];
        let families = families(samples);
        let shape: Vec<_> = families.iter().map(|family| (family.name, family.rows.len())).collect();
        assert_eq!(shape, [("a", 2), ("b", 1)]);
    }

    #[test]
    fn same_labels_in_any_order_are_added_up() {
        let samples = vec![
            counter("a", &[("x", "1"), ("y", "2")], 1),
            counter("a_total", &[("y", "2"), ("x", "1")], 10),
        ];
        let families = families(samples);
        assert!(matches!(families[0].rows[..], [Row { number: Number::Counter(11), .. }]), "{families:?}");
    }

    #[test]
    fn what_cannot_be_written_is_left_out() {
        let mut samples = vec![
            counter("1a", &[], 1),
            counter("", &[], 1),
            counter("a-b", &[], 1),
            counter("a", &[("x y", "1")], 1),
            counter("a", &[("x", "1"), ("x", "2")], 1),
        ];
        assert!(families(samples.clone()).is_empty());
        samples.push(counter("a", &[], 1));
        samples.push(Sample { value: Value::Gauge(1.0), ..counter("a", &[("x", "1")], 1) });
        let families = families(samples);
        assert_eq!((families.len(), families[0].rows.len()), (1, 1));
    }
}
