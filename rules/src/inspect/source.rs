//! Owns [`Module`]: what one Python file says without being run, as the names it binds and how.

use std::collections::{HashMap, HashSet};

use ruff_python_ast::{Decorator, ExceptHandler, Expr, Stmt, StmtClassDef, StmtFunctionDef};

/// Larger files hold data, not actions.
const MAX_BYTES: usize = 1 << 20;
/// Expressions nested deeper say nothing that inspection needs.
const MAX_DEPTH: usize = 16;

/// An expression, as far as inspection needs to understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `a`, `a.b.c`.
    Path(Vec<String>),
    /// Text without interpolation.
    Text(String),
    /// `None`.
    None,
    /// `base[items]`.
    Subscript(Box<Value>, Vec<Value>),
    /// `function(args, name=value)`.
    Call {
        function: Box<Value>,
        args: Vec<Value>,
        named: Vec<(String, Value)>,
        /// Has `*args` or `**kwargs`.
        open: bool,
    },
    /// A list or tuple.
    Items(Vec<Value>),
    /// Anything else.
    Other,
}

/// How a name came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    /// `import a.b`: the name is this module.
    Module(String),
    /// `from module import name`.
    From { module: String, name: String },
    /// A class of this file.
    Class(usize),
    /// A function of this file.
    Function(usize),
    /// An assignment.
    Value(Value),
    /// It depends on what happens at run time.
    Unclear,
}

/// A class.
#[derive(Debug, Default)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) bases: Vec<Value>,
    /// `class A[T]`.
    pub(super) type_params: Vec<String>,
    /// Assigned in the body.
    pub(super) attributes: HashMap<String, Value>,
    /// Defined in the body, and whether abstract.
    pub(super) methods: HashMap<String, bool>,
    /// Has a metaclass or the like.
    pub(super) keywords: bool,
}

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) decorators: Vec<Value>,
}

/// A file.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Dotted name.
    pub(super) name: String,
    /// Path in the plugin.
    pub(super) path: String,
    pub(super) names: HashMap<String, Bound>,
    /// Modules of `from module import *`.
    pub(super) stars: Vec<String>,
    /// `__all__`, when it is a plain list.
    pub(super) exports: Option<Vec<String>>,
    pub(super) classes: Vec<Class>,
    pub(super) functions: Vec<Function>,
    /// May have names that it does not spell out.
    pub(super) unseen: bool,
    /// Why it cannot be read as Python, in words.
    pub(super) broken: Option<String>,
    /// Mentions the SDK: worth a note when it cannot be read.
    pub(super) mentions_sdk: bool,
}

impl Module {
    /// Reads the file at `path`, which is the module `name`; a package when `package`.
    pub(super) fn parse(path: &str, name: &str, package: bool, text: &str) -> Self {
        let mut module = Self {
            name: name.to_owned(),
            path: path.to_owned(),
            mentions_sdk: text.contains("synapse_sdk"),
            ..Self::default()
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > MAX_BYTES {
            module.broken = Some("it is larger than a megabyte".to_owned());
            return module;
        }
        let parsed = match ruff_python_parser::parse_module(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let at = usize::from(error.location.start()).min(text.len());
                let line = text[..at].split('\n').count();
                module.broken = Some(format!("line {line} is not Python: {}", error.error));
                return module;
            }
        };
        let package = if package {
            name.to_owned()
        } else {
            name.rsplit_once('.')
                .map_or("", |(package, _)| package)
                .to_owned()
        };
        let mut reader = Reader {
            module,
            package,
            maybe: HashSet::new(),
        };
        reader.statements(&parsed.syntax().body, false);
        reader.module
    }
}

struct Reader {
    module: Module,
    /// What relative imports start from.
    package: String,
    /// Names bound under a condition.
    maybe: HashSet<String>,
}

impl Reader {
    fn bind(&mut self, name: &str, bound: Bound, conditional: bool) {
        let names = &mut self.module.names;
        let nothing = |bound: &Bound| *bound == Bound::Value(Value::None);
        match names.get(name) {
            // A fallback of `None` is what is left when the real thing is absent.
            Some(_) if conditional && nothing(&bound) => {}
            Some(old) if nothing(old) || *old == bound => {
                names.insert(name.to_owned(), bound);
            }
            Some(_) if conditional || self.maybe.contains(name) => {
                names.insert(name.to_owned(), Bound::Unclear);
            }
            _ => {
                names.insert(name.to_owned(), bound);
            }
        }
        if conditional {
            self.maybe.insert(name.to_owned());
        }
    }

    fn statements(&mut self, body: &[Stmt], conditional: bool) {
        for statement in body {
            self.statement(statement, conditional);
        }
    }

    fn statement(&mut self, statement: &Stmt, conditional: bool) {
        match statement {
            Stmt::Import(import) => {
                for alias in &import.names {
                    let module = alias.name.as_str();
                    let (name, module) = if let Some(name) = &alias.asname {
                        (name.as_str(), module)
                    } else {
                        let top = module.split('.').next().unwrap_or(module);
                        (top, top)
                    };
                    self.bind(name, Bound::Module(module.to_owned()), conditional);
                }
            }
            Stmt::ImportFrom(import) => {
                let module = import.module.as_deref();
                let module = self.absolute(module, import.level);
                for alias in &import.names {
                    let name = alias.name.as_str();
                    if name == "*" {
                        self.module.stars.push(module.clone());
                        continue;
                    }
                    let own = alias
                        .asname
                        .as_ref()
                        .unwrap_or(&alias.name)
                        .as_str()
                        .to_owned();
                    let bound = Bound::From {
                        module: module.clone(),
                        name: name.to_owned(),
                    };
                    self.bind(&own, bound, conditional);
                }
            }
            Stmt::ClassDef(class) => {
                self.module.classes.push(read_class(class));
                let index = self.module.classes.len() - 1;
                self.bind(class.name.as_str(), Bound::Class(index), conditional);
            }
            Stmt::FunctionDef(function) => {
                let name = function.name.as_str();
                self.module.unseen |= name == "__getattr__";
                self.module.functions.push(Function {
                    name: name.to_owned(),
                    decorators: decorators(&function.decorator_list),
                });
                let index = self.module.functions.len() - 1;
                self.bind(name, Bound::Function(index), conditional);
            }
            Stmt::Assign(assign) => {
                let bound = value(&assign.value, 0);
                for target in &assign.targets {
                    self.assign(target, Some(&bound), conditional);
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(own) = &assign.value {
                    self.assign(&assign.target, Some(&value(own, 0)), conditional);
                }
            }
            Stmt::AugAssign(assign) => self.assign(&assign.target, None, conditional),
            Stmt::Delete(delete) => {
                for target in &delete.targets {
                    self.assign(target, None, conditional);
                }
            }
            Stmt::Expr(expression) => self.unseen(&expression.value),
            Stmt::If(test) => self.condition(test, conditional),
            Stmt::Try(attempt) => {
                self.statements(&attempt.body, true);
                for ExceptHandler::ExceptHandler(handler) in &attempt.handlers {
                    self.statements(&handler.body, true);
                }
                self.statements(&attempt.orelse, true);
                self.statements(&attempt.finalbody, conditional);
            }
            Stmt::With(with) => {
                for item in &with.items {
                    if let Some(target) = &item.optional_vars {
                        self.assign(target, None, conditional);
                    }
                }
                self.statements(&with.body, conditional);
            }
            Stmt::For(each) => {
                self.assign(&each.target, None, true);
                self.statements(&each.body, true);
                self.statements(&each.orelse, true);
            }
            Stmt::While(each) => {
                self.statements(&each.body, true);
                self.statements(&each.orelse, true);
            }
            Stmt::Match(choice) => {
                for case in &choice.cases {
                    self.statements(&case.body, true);
                }
            }
            _ => {}
        }
    }

    fn condition(&mut self, test: &ruff_python_ast::StmtIf, conditional: bool) {
        // Never true at run time, or never true of a module that is imported.
        let typing = matches!(value(&test.test, 0), Value::Path(path)
            if path.last().is_some_and(|name| name == "TYPE_CHECKING"));
        let main = matches!(&*test.test, Expr::Compare(compare)
            if matches!(&*compare.left, Expr::Name(name) if name.id.as_str() == "__name__"));
        if !typing && !main {
            self.statements(&test.body, true);
        }
        let certain = (typing || main) && test.elif_else_clauses.len() == 1;
        for clause in &test.elif_else_clauses {
            self.statements(
                &clause.body,
                conditional || !certain || clause.test.is_some(),
            );
        }
    }

    fn assign(&mut self, target: &Expr, bound: Option<&Value>, conditional: bool) {
        match target {
            Expr::Name(name) if name.id.as_str() == "__all__" => {
                let texts = |items: &[Value]| {
                    let text = |item: &Value| match item {
                        Value::Text(text) => Some(text.clone()),
                        _ => None,
                    };
                    items.iter().map(text).collect::<Option<Vec<_>>>()
                };
                self.module.exports = match bound {
                    Some(Value::Items(items)) if !conditional => texts(items),
                    _ => None,
                };
            }
            Expr::Name(name) => {
                let bound = bound.map_or(Bound::Unclear, |value| Bound::Value(value.clone()));
                self.bind(name.id.as_str(), bound, conditional);
            }
            Expr::Tuple(tuple) => {
                for target in &tuple.elts {
                    self.assign(target, None, conditional);
                }
            }
            // `TrainAction.input_type = ...` after the class.
            Expr::Attribute(attribute) => {
                if let Expr::Name(owner) = &*attribute.value
                    && let Some(Bound::Class(index)) = self.module.names.get(owner.id.as_str())
                {
                    let bound = bound
                        .filter(|_| !conditional)
                        .cloned()
                        .unwrap_or(Value::Other);
                    let name = attribute.attr.as_str().to_owned();
                    self.module.classes[*index].attributes.insert(name, bound);
                }
            }
            _ => {}
        }
    }

    /// `globals().update(...)` and the like.
    fn unseen(&mut self, expression: &Expr) {
        if let Value::Call { function, .. } = value(expression, 0) {
            let mut inner = &*function;
            while let Value::Call { function, .. } | Value::Subscript(function, _) = inner {
                inner = function;
            }
            if let Value::Path(path) = inner {
                self.module.unseen |= matches!(
                    path.first().map(String::as_str),
                    Some("globals" | "setattr" | "exec" | "vars")
                );
            } else {
                self.module.unseen |= matches!(expression, Expr::Call(call)
                    if matches!(&*call.func, Expr::Attribute(own)
                        if matches!(&*own.value, Expr::Call(_))));
            }
        }
    }

    fn absolute(&self, module: Option<&str>, level: u32) -> String {
        if level == 0 {
            return module.unwrap_or_default().to_owned();
        }
        let mut package: Vec<&str> = self
            .package
            .split('.')
            .filter(|part| !part.is_empty())
            .collect();
        package.truncate(package.len().saturating_sub(level as usize - 1));
        package.extend(module);
        package.join(".")
    }
}

fn decorators(list: &[Decorator]) -> Vec<Value> {
    list.iter()
        .map(|decorator| value(&decorator.expression, 0))
        .collect()
}

fn read_class(class: &StmtClassDef) -> Class {
    let mut read = Class {
        name: class.name.as_str().to_owned(),
        ..Class::default()
    };
    if let Some(arguments) = &class.arguments {
        read.bases = arguments.args.iter().map(|base| value(base, 0)).collect();
        read.keywords = !arguments.keywords.is_empty();
    }
    if let Some(params) = &class.type_params {
        read.type_params = params
            .type_params
            .iter()
            .map(|param| param.name().as_str().to_owned())
            .collect();
    }
    class_body(&class.body, false, &mut read);
    read
}

fn class_body(body: &[Stmt], conditional: bool, class: &mut Class) {
    let set = |target: &Expr, own: Option<&Expr>, class: &mut Class| {
        if let Expr::Name(name) = target {
            let own = own
                .filter(|_| !conditional)
                .map_or(Value::Other, |own| value(own, 0));
            class.methods.remove(name.id.as_str());
            class.attributes.insert(name.id.as_str().to_owned(), own);
        }
    };
    for statement in body {
        match statement {
            Stmt::Assign(assign) => {
                for target in &assign.targets {
                    set(target, Some(&assign.value), class);
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(own) = &assign.value {
                    set(&assign.target, Some(own), class);
                }
            }
            Stmt::AugAssign(assign) => set(&assign.target, None, class),
            Stmt::FunctionDef(function) => method(function, class),
            Stmt::ClassDef(inner) => {
                class
                    .attributes
                    .insert(inner.name.as_str().to_owned(), Value::Other);
            }
            Stmt::If(test) => {
                class_body(&test.body, true, class);
                for clause in &test.elif_else_clauses {
                    class_body(&clause.body, true, class);
                }
            }
            Stmt::Try(attempt) => {
                class_body(&attempt.body, true, class);
                for ExceptHandler::ExceptHandler(handler) in &attempt.handlers {
                    class_body(&handler.body, true, class);
                }
            }
            Stmt::With(with) => class_body(&with.body, true, class),
            Stmt::For(each) => class_body(&each.body, true, class),
            _ => {}
        }
    }
}

fn method(function: &StmtFunctionDef, class: &mut Class) {
    let is_abstract = decorators(&function.decorator_list)
        .iter()
        .any(|decorator| {
            matches!(decorator, Value::Path(path) if path.last().is_some_and(|name| {
                matches!(name.as_str(), "abstractmethod" | "abstractproperty")
            }))
        });
    class.attributes.remove(function.name.as_str());
    class
        .methods
        .insert(function.name.as_str().to_owned(), is_abstract);
}

/// What an expression is. `depth` counts how deep it stands in another.
fn value(expression: &Expr, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Other;
    }
    let all = |items: &[Expr]| items.iter().map(|item| value(item, depth + 1)).collect();
    match expression {
        Expr::Name(name) => Value::Path(vec![name.id.as_str().to_owned()]),
        Expr::Attribute(attribute) => match value(&attribute.value, depth + 1) {
            Value::Path(mut path) => {
                path.push(attribute.attr.as_str().to_owned());
                Value::Path(path)
            }
            _ => Value::Other,
        },
        Expr::StringLiteral(text) => Value::Text(text.value.to_str().to_owned()),
        Expr::NoneLiteral(_) => Value::None,
        Expr::Subscript(subscript) => {
            let items = match &*subscript.slice {
                Expr::Tuple(tuple) => all(&tuple.elts),
                other => vec![value(other, depth + 1)],
            };
            Value::Subscript(Box::new(value(&subscript.value, depth + 1)), items)
        }
        Expr::Call(call) => {
            let keywords = &call.arguments.keywords;
            let named = keywords.iter().filter_map(|keyword| {
                Some((
                    keyword.arg.as_ref()?.as_str().to_owned(),
                    value(&keyword.value, depth + 1),
                ))
            });
            let starred = call.arguments.args.iter().any(Expr::is_starred_expr);
            Value::Call {
                function: Box::new(value(&call.func, depth + 1)),
                args: all(&call.arguments.args),
                named: named.collect(),
                open: starred || keywords.iter().any(|keyword| keyword.arg.is_none()),
            }
        }
        Expr::List(list) => Value::Items(all(&list.elts)),
        Expr::Tuple(tuple) => Value::Items(all(&tuple.elts)),
        _ => Value::Other,
    }
}
