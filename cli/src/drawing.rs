//! Owns the graph as it is drawn: every stage of every plugin with what was decided for it, and
//! what it depends on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use synapse_engine::{Decision, Event, EventSink, Failure, Graph, Label, Plan, Planned};

/// More plugins than this, and equal ones are drawn as one.
const MANY: usize = 60;

/// What makes a stage equal to that of another plugin: name, fate, why, and what it waits for.
type Shape = (String, Fate, String, Vec<usize>);

/// What was decided for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Its result is known.
    Hit,
    /// Its result is known and its files are brought back.
    Restore,
    /// It would run.
    Run,
    /// What it depends on decides.
    Unknown,
    /// It cannot be done.
    Refused,
    /// Nobody needs it.
    NotNeeded,
}

impl Fate {
    /// As programs read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Restore => "restore",
            Self::Run => "run",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::NotNeeded => "not_needed",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Hit => "up to date",
            Self::Restore => "brought back",
            Self::Run => "would run",
            Self::Unknown => "depends",
            Self::Refused => "refused",
            Self::NotNeeded => "not needed",
        }
    }
}

/// One stage of one plugin.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// Its names.
    pub label: Label,
    /// What was decided.
    pub fate: Fate,
    /// Why.
    pub reasons: Vec<String>,
    /// Why it cannot be done.
    pub failure: Option<Failure>,
    /// Its key, once that is known.
    pub key: Option<String>,
    /// What it depends on, by place.
    pub on: Vec<usize>,
    /// Which nodes belong together: those of one plugin.
    pub group: usize,
}

impl Drawn {
    /// Why, in one sentence; nothing where there is nothing to say.
    pub fn why(&self) -> String {
        match &self.failure {
            Some(failure) => failure.message.clone(),
            None => self.reasons.join(", "),
        }
    }
}

/// The graph, dependencies before dependents.
#[derive(Debug, Clone, Default)]
pub struct Drawing {
    /// Its nodes.
    pub nodes: Vec<Drawn>,
    /// Names of groups, and how many plugins each stands for.
    pub groups: Vec<(String, usize)>,
}

impl Drawing {
    /// The places of a group's nodes.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.groups.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            members[node.group].push(at);
        }
        members
    }

    /// The same with equal plugins as one, where there are many.
    pub fn collapsed(self) -> Self {
        if self.groups.len() <= MANY {
            return self;
        }
        let members = self.members();
        let mut first: HashMap<Vec<Shape>, usize> = HashMap::new();
        let mut stands = vec![0; self.groups.len()];
        let mut kept = vec![false; self.groups.len()];
        for (group, nodes) in members.iter().enumerate() {
            let place = |on: &usize| nodes.iter().position(|own| own == on).unwrap_or(usize::MAX);
            let whole = |at: &usize| {
                let node = &self.nodes[*at];
                let on = node.on.iter().map(place).collect();
                (node.label.stage.clone(), node.fate, node.why(), on)
            };
            // What shares something with others is drawn by itself.
            let alone = nodes
                .iter()
                .all(|at| self.nodes[*at].on.iter().all(|on| nodes.contains(on)));
            let twin = if alone {
                let whole = nodes.iter().map(whole).collect();
                *first.entry(whole).or_insert(group)
            } else {
                group
            };
            stands[twin] += 1;
            kept[twin] = true;
        }
        let mut drawing = Self::default();
        let mut groups = vec![0; self.groups.len()];
        for (group, (name, _)) in self.groups.iter().enumerate() {
            groups[group] = drawing.groups.len();
            if kept[group] {
                drawing.groups.push((name.clone(), stands[group]));
            }
        }
        let mut places = vec![0; self.nodes.len()];
        for (at, node) in self.nodes.into_iter().enumerate() {
            places[at] = drawing.nodes.len();
            if kept[node.group] {
                drawing.nodes.push(Drawn {
                    on: node.on.iter().map(|on| places[*on]).collect(),
                    group: groups[node.group],
                    ..node
                });
            }
        }
        drawing
    }
}

/// What is drawn so far, and where each stage of each subject is in it.
type Begun = (Drawing, HashMap<(String, String), usize>);

/// Hears of plans and draws them.
pub struct Drawer {
    inner: Arc<dyn EventSink>,
    drawn: Mutex<Begun>,
}

impl Drawer {
    /// One that passes on what it hears.
    pub fn new(inner: Arc<dyn EventSink>) -> Self {
        let drawn = Mutex::default();
        Self { inner, drawn }
    }

    /// What was drawn.
    pub fn take(&self) -> Drawing {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut drawing = std::mem::take(&mut drawn.0);
        let mut names = HashMap::new();
        for node in &mut drawing.nodes {
            let group = &mut node.group;
            let next = names.len();
            *group = *names.entry(*group).or_insert(next);
            if *group == next && drawing.groups.len() == next {
                drawing.groups.push((node.label.subject.clone(), 1));
            }
        }
        drawing
    }
}

impl EventSink for Drawer {
    fn event(&self, event: Event) {
        self.inner.event(event);
    }

    fn planned(&self, graph: &Graph, plan: &Plan) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let (drawing, by_label) = &mut *drawn;
        let mut places = HashMap::with_capacity(graph.len());
        for id in graph.order() {
            let label = graph.node(*id).label();
            let on: Vec<usize> = graph
                .dependencies(*id)
                .iter()
                .filter_map(|on| places.get(on).copied())
                .collect();
            let name = (label.stage.clone(), label.subject.clone());
            let known = by_label.get(&name).copied();
            let at = known.unwrap_or(drawing.nodes.len());
            by_label.insert(name, at);
            places.insert(*id, at);
            let node = drawn_of(plan.get(*id), label, on);
            match drawing.nodes.get_mut(at) {
                // Looking has done it already; a publish would have had to.
                Some(old) if old.fate == Fate::Run && node.fate == Fate::Hit => {}
                Some(old) => {
                    let group = old.group;
                    *old = Drawn { group, ..node };
                }
                None => {
                    let group = node.on.first().map_or(at, |on| drawing.nodes[*on].group);
                    drawing.nodes.push(Drawn { group, ..node });
                }
            }
        }
        drop(drawn);
        self.inner.planned(graph, plan);
    }
}

fn drawn_of(planned: &Planned, label: Label, on: Vec<usize>) -> Drawn {
    let (fate, reasons) = match &planned.decision {
        _ if planned.failure.is_some() => (Fate::Refused, &[][..]),
        Decision::Hit => (Fate::Hit, &[][..]),
        Decision::Restore => (Fate::Restore, &[][..]),
        Decision::Run(reasons) if planned.needed || !reasons.is_empty() => {
            (Fate::Run, reasons.as_slice())
        }
        Decision::Unknown if planned.needed => (Fate::Unknown, &[][..]),
        _ => (Fate::NotNeeded, &[][..]),
    };
    Drawn {
        label,
        fate,
        reasons: reasons.iter().map(ToString::to_string).collect(),
        failure: planned.failure.clone(),
        key: planned.key.map(|key| key.0.hex()),
        on,
        group: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(fates: &[Fate]) -> Drawing {
        let mut drawing = Drawing::default();
        for (group, fate) in fates.iter().enumerate() {
            for stage in ["archive", "upload"] {
                let on = (stage == "upload").then(|| drawing.nodes.len() - 1);
                let subject = format!("p{group}");
                drawing.nodes.push(Drawn {
                    label: Label {
                        stage: stage.to_owned(),
                        subject,
                    },
                    fate: *fate,
                    reasons: Vec::new(),
                    failure: None,
                    key: None,
                    on: on.into_iter().collect(),
                    group,
                });
            }
            drawing.groups.push((format!("p{group}"), 1));
        }
        drawing
    }

    #[test]
    fn many_equal_plugins_are_one() {
        let mut fates = vec![Fate::Hit; 100];
        fates[40] = Fate::Run;
        let small = drawing(&fates).collapsed();
        let groups: Vec<_> = small
            .groups
            .iter()
            .map(|(name, of)| (name.as_str(), *of))
            .collect();
        assert_eq!(groups, [("p0", 99), ("p40", 1)]);
        let on: Vec<_> = small
            .nodes
            .iter()
            .map(|node| (node.group, node.on.clone()))
            .collect();
        assert_eq!(on, [(0, vec![]), (0, vec![0]), (1, vec![]), (1, vec![2])]);
        assert_eq!(drawing(&fates[..60]).collapsed().groups.len(), 60);
    }
}
