//! What a person sees while a module is fetched: a bar on a terminal, lines elsewhere; on standard error.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};

use super::FetchArgs;
use crate::device::{Asked, Cause, Event, FetchOptions, Fetched, Listen, Whole};

/// Without a terminal a line is written for every tenth of the module, and after so long in any case.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often a bar moves when nothing else makes it.
const TICK: Duration = Duration::from_millis(100);

/// What a person is told.
pub(super) struct Report {
    output: Output,
    /// What we are about to do; said once it is begun.
    intent: Option<String>,
    /// Where we ask.
    place: String,
    listen: Listen,
    /// The last trouble with the connection, so that each is said once.
    trouble: String,
    whole: Option<Whole>,
    asked: bool,
    /// Somebody has said something of this module, if only that it cannot be had now.
    answered: bool,
}

enum Output {
    Quiet,
    Bar(ProgressBar),
    Lines(Lines),
}

impl Report {
    /// Begins to report in the way that standard error allows.
    pub fn new(args: &FetchArgs, options: &FetchOptions) -> Self {
        let output = if args.quiet {
            Output::Quiet
        } else if io::stderr().is_terminal() {
            Output::Bar(waiting_bar())
        } else {
            Output::Lines(Lines::new(Instant::now()))
        };
        if let Output::Bar(bar) = &output {
            bar.set_message("connecting");
        }
        let (place, listen) = (args.place(), options.listen);
        let intent = format!("asking for {} on {place} at {} as {}", args.reference, options.url, options.device);
        Self {
            output,
            intent: Some(intent),
            place,
            listen,
            trouble: String::new(),
            whole: None,
            asked: false,
            answered: false,
        }
    }

    /// Reports an event.
    pub fn note(&mut self, event: &Event) {
        if let Some(intent) = self.intent.take() {
            self.say(&intent);
        }
        match event {
            Event::NotConnected(failure) => {
                if failure.message != self.trouble {
                    self.say(&format!("{}; trying again", failure.message));
                    self.trouble.clone_from(&failure.message);
                }
            }
            Event::Connected(_) => self.trouble.clear(),
            Event::Asked { what: Asked::Chunks(chunks), unheard: false } => {
                // Where everything is asked for so, it is no news.
                if self.listen == Listen::Everything {
                    self.say(&format!("asking again for {chunks} missing chunks"));
                }
            }
            Event::Asked { unheard, .. } => self.note_asked(*unheard),
            Event::Begun(whole) => self.begin(*whole),
            Event::Gathered { chunks, bytes } => self.advance(*chunks, *bytes),
            Event::Refused { notice, wait } => {
                self.answered = true;
                let wait = wait.as_secs_f64();
                self.say(&format!("{}: {}; asking again in {wait:.0} s", notice.code, notice.message));
            }
            Event::BegunAnew(cause) => self.say(&format!("{}; beginning anew", why(*cause))),
            Event::Verifying(_) => {
                if let Output::Bar(bar) = &self.output {
                    bar.set_message("verifying");
                }
            }
        }
    }

    /// Takes the bar away, so that what follows stands alone.
    pub fn clear(&self) {
        if let Output::Bar(bar) = &self.output {
            bar.finish_and_clear();
        }
    }

    /// Reports the end.
    pub fn finish(&self, file: &str, fetched: &Fetched) {
        let Whole { digest, layout } = fetched.whole;
        let (size, took) = (BinaryBytes(layout.size()), fetched.elapsed);
        let took = match rate(layout.size(), took) {
            Some(rate) => format!("{:.1} s ({rate})", took.as_secs_f64()),
            None => format!("{} ms", took.as_millis()),
        };
        self.say(&format!("{file}: {size}, {digest}, verified, in {took}"));
        if let Err(error) = &fetched.receipt {
            self.say(&format!("warning: the module is here, but its sender does not know: {error}"));
        }
    }

    fn note_asked(&mut self, unheard: bool) {
        let place = &self.place;
        if unheard {
            self.say(&format!("nobody listens on {place} right now: is a worker running for it?"));
        } else if self.asked && !self.answered && self.whole.is_none() {
            self.say(&format!("no answer yet on {place}: is a worker running for it?"));
        }
        if let Output::Bar(bar) = &self.output
            && self.whole.is_none()
        {
            bar.set_message(format!("asked on {place}, waiting for an answer"));
        }
        self.asked = true;
    }

    fn begin(&mut self, whole: Whole) {
        let Whole { digest, layout } = whole;
        self.whole = Some(whole);
        self.say(&format!("{digest}: {} in {} chunks", BinaryBytes(layout.size()), layout.total()));
        match &mut self.output {
            Output::Quiet => (),
            Output::Bar(bar) => {
                bar.set_length(layout.size());
                bar.set_position(0);
                bar.reset_eta();
                bar.set_message(format!("0/{} chunks", layout.total()));
                bar.set_style(style("{bar:30} {binary_bytes}/{binary_total_bytes} {msg} {binary_bytes_per_sec} {eta}"));
            }
            Output::Lines(lines) => *lines = Lines::new(Instant::now()),
        }
    }

    fn advance(&mut self, chunks: u32, bytes: u64) {
        let Some(Whole { layout, .. }) = self.whole else { return };
        let total = layout.total();
        match &mut self.output {
            Output::Quiet => (),
            Output::Bar(bar) => {
                bar.set_position(bytes);
                bar.set_message(format!("{chunks}/{total} chunks"));
            }
            Output::Lines(lines) => {
                let now = Instant::now();
                if let Some(percent) = lines.due(bytes, layout.size(), now) {
                    let rate = rate(bytes, now - lines.begun).map_or_else(String::new, |rate| format!(", {rate}"));
                    let (here, size) = (BinaryBytes(bytes), BinaryBytes(layout.size()));
                    line(&format!("{percent:>3} %, {here} of {size}, {chunks} of {total} chunks{rate}"));
                }
            }
        }
    }

    fn say(&self, text: &str) {
        match &self.output {
            Output::Quiet => (),
            Output::Bar(bar) => bar.suspend(|| line(text)),
            Output::Lines(_) => line(text),
        }
    }
}

/// Lines in place of a bar: which of them are worth writing.
struct Lines {
    begun: Instant,
    last: Instant,
    /// The tenth of the module that was last reported.
    tenth: u64,
}

impl Lines {
    fn new(now: Instant) -> Self {
        Self { begun: now, last: now, tenth: 0 }
    }

    /// How many hundredths are here, where that is worth a line.
    fn due(&mut self, bytes: u64, size: u64, now: Instant) -> Option<u64> {
        let percent = u64::try_from(u128::from(bytes) * 100 / u128::from(size.max(1))).unwrap_or(100);
        if percent / 10 == self.tenth && now - self.last < LINE_EVERY {
            return None;
        }
        self.tenth = percent / 10;
        self.last = now;
        Some(percent)
    }
}

fn line(text: &str) {
    // Nobody reads it: that is no reason to end.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn waiting_bar() -> ProgressBar {
    let bar = ProgressBar::no_length().with_style(style("{spinner} {msg} ({elapsed})"));
    bar.enable_steady_tick(TICK);
    bar
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants, and tested.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Bytes in a second, where it took long enough to tell.
fn rate(bytes: u64, took: Duration) -> Option<String> {
    let millis = took.as_millis();
    let rate = u64::try_from(u128::from(bytes) * 1000 / millis.max(1)).ok()?;
    (millis >= 100).then(|| format!("{}/s", BinaryBytes(rate)))
}

fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Changed => "the reference means another module by now, or it is cut otherwise",
        Cause::Overtaken => "another module is being sent under the same reference",
        Cause::Refuted => "what the channel said of the module is not so",
        Cause::DigestMismatch => "what arrived is not what its digest says",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_for_every_tenth() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        let written: Vec<_> = (1..=1000).filter_map(|bytes| lines.due(bytes, 1000, now)).collect();
        assert_eq!(written, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    }

    #[test]
    fn a_rate_is_told_of_what_took_a_while() {
        assert_eq!(rate(13, Duration::from_millis(99)), None);
        assert_eq!(rate(3 << 20, Duration::from_millis(1500)).as_deref(), Some("2.00 MiB/s"));
    }

    #[test]
    fn a_slow_module_has_a_line_every_five_seconds() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        assert_eq!(lines.due(1, 1000, now + LINE_EVERY - TICK), None);
        assert_eq!(lines.due(2, 1000, now + LINE_EVERY), Some(0));
        assert_eq!(lines.due(3, 1000, now + LINE_EVERY + TICK), None);
    }
}
