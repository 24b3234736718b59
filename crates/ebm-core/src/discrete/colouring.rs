//! Colourings: variables in classes within which no two interact, so that a class can be drawn all at once.
//!
//! Given the other classes the variables of one class are independent. A lattice has two such classes, the black and
//! the white squares of a chessboard, unless a closed side is odd.

use super::DiscreteEnergy;
use crate::exact::{Boundary, IsingLattice};
use crate::{Error, Result};

/// Variables in classes; no two of one class interact, and every variable is in exactly one.
///
/// ```
/// use ebm_core::Colouring;
/// // A ring of five variables: odd, so two colours are not enough.
/// let ring: Vec<_> = (0..5).map(|i| (i, (i + 1) % 5)).collect();
/// assert_eq!(Colouring::greedy(5, &ring)?.classes(), [vec![0, 2], vec![1, 3], vec![4]]);
/// let wrong = Colouring::new(5, &ring, vec![vec![0, 2, 4], vec![1, 3]]);
/// assert!(wrong.is_err());
/// # Ok::<(), ebm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Colouring {
    n_variables: usize,
    classes: Vec<Vec<usize>>,
}

impl Colouring {
    /// These classes of the variables `0..n_variables`, of which the pairs in `interactions` interact.
    ///
    /// # Errors
    /// When there is no variable, a variable is in no class or in two, a number is no variable, or two variables of
    /// one class interact.
    pub fn new(
        n_variables: usize,
        interactions: &[(usize, usize)],
        classes: Vec<Vec<usize>>,
    ) -> Result<Self> {
        check_graph(n_variables, interactions)?;
        let mut class_of = vec![None; n_variables];
        for (class, members) in classes.iter().enumerate() {
            for &i in members {
                let found = format_args!("{i} in class {class}");
                match class_of.get_mut(i) {
                    None => {
                        return Err(Error::bad_value("variable", found, format!("below {n_variables}"), ""));
                    }
                    Some(Some(other)) => {
                        let limit = format!("in one class, found in class {other} too");
                        return Err(Error::bad_value("variable", found, limit, ""));
                    }
                    Some(free) => *free = Some(class),
                }
            }
        }
        if let Some(i) = class_of.iter().position(Option::is_none) {
            let fix = "put it in one, or use Colouring::greedy";
            return Err(Error::bad_value("variable", format_args!("{i} in no class"), "in one class", fix));
        }
        let classes = classes.into_iter().filter(|class| !class.is_empty()).collect();
        let colouring = Self { n_variables, classes };
        colouring.check_interactions(interactions)?;
        Ok(colouring)
    }

    /// Each variable in the first class that holds none of its neighbours, in order: at most one class more than the
    /// largest number of neighbours.
    ///
    /// # Errors
    /// When there is no variable, or a pair names one that does not exist or one twice.
    pub fn greedy(n_variables: usize, interactions: &[(usize, usize)]) -> Result<Self> {
        check_graph(n_variables, interactions)?;
        // Only neighbours that come earlier have a class yet.
        let mut earlier = vec![vec![]; n_variables];
        for &(i, j) in interactions {
            earlier[i.max(j)].push(i.min(j));
        }
        let mut class_of = vec![0; n_variables];
        let mut classes: Vec<Vec<usize>> = vec![];
        for i in 0..n_variables {
            let taken = |class: &usize| earlier[i].iter().any(|j| class_of[*j] == *class);
            let class = (0..classes.len()).find(|class| !taken(class)).unwrap_or(classes.len());
            if class == classes.len() {
                classes.push(vec![]);
            }
            class_of[i] = class;
            classes[class].push(i);
        }
        Ok(Self { n_variables, classes })
    }

    /// [`Colouring::greedy`] on the pairs that the energy names.
    ///
    /// # Errors
    /// When the energy does not say which variables interact, or names pairs that are none.
    pub fn of<E: DiscreteEnergy + ?Sized>(energy: &E) -> Result<Self> {
        let Some(interactions) = energy.interactions() else {
            let fix = "implement DiscreteEnergy::interactions, or give the pairs to Colouring::greedy";
            return Err(Error::bad_value("interactions of the energy", "unknown", "known", fix));
        };
        Self::greedy(energy.n_variables(), &interactions)
    }

    /// The two colours of a chessboard, `(row + column)` even and odd.
    ///
    /// # Errors
    /// When a closed side is odd: going round it once would change the colour.
    pub fn checkerboard(lattice: &IsingLattice) -> Result<Self> {
        let (rows, cols) = (lattice.rows(), lattice.cols());
        let closed = [
            ("rows of a lattice with two colours", rows, lattice.boundary() == Boundary::Torus),
            ("cols of a lattice with two colours", cols, lattice.boundary() != Boundary::Open),
        ];
        for (name, side, is_closed) in closed {
            if is_closed && side > 1 && side % 2 == 1 {
                let fix = "take an even side, or Colouring::greedy, which finds three or more classes";
                return Err(Error::bad_value(name, side, "even where it is closed", fix));
            }
        }
        let (black, white) = (0..rows * cols).partition(|site| (site / cols + site % cols) % 2 == 0);
        let classes = [black, white].into_iter().filter(|class: &Vec<usize>| !class.is_empty()).collect();
        Ok(Self { n_variables: rows * cols, classes })
    }

    /// The number of variables.
    pub fn n_variables(&self) -> usize {
        self.n_variables
    }

    /// The variables of each class; none is empty.
    pub fn classes(&self) -> &[Vec<usize>] {
        &self.classes
    }

    /// Whether this colours the variables of `energy`, as far as the energy says which interact.
    ///
    /// # Errors
    /// When the number of variables differs, or two of one class interact.
    pub fn check<E: DiscreteEnergy + ?Sized>(&self, energy: &E) -> Result<()> {
        if self.n_variables != energy.n_variables() {
            return Err(Error::shape("variables of a colouring", energy.n_variables(), self.n_variables));
        }
        self.check_interactions(&energy.interactions().unwrap_or_default())
    }

    fn check_interactions(&self, interactions: &[(usize, usize)]) -> Result<()> {
        let mut class_of = vec![0; self.n_variables];
        for (class, members) in self.classes.iter().enumerate() {
            members.iter().for_each(|i| class_of[*i] = class);
        }
        match interactions.iter().find(|(i, j)| class_of[*i] == class_of[*j]) {
            None => Ok(()),
            Some((i, j)) => {
                let found = format_args!("{i} and {j} in class {}", class_of[*i]);
                let fix = "they interact; Colouring::greedy finds classes that hold no such pair";
                Err(Error::bad_value("variables", found, "in different classes", fix))
            }
        }
    }
}

fn check_graph(n_variables: usize, interactions: &[(usize, usize)]) -> Result<()> {
    if n_variables == 0 {
        return Err(Error::bad_value("n_variables", 0, "at least 1", ""));
    }
    match interactions.iter().find(|(i, j)| *i >= n_variables || *j >= n_variables || i == j) {
        None => Ok(()),
        Some((i, j)) => {
            let limit = format!("two different variables below {n_variables}");
            Err(Error::bad_value("interaction", format_args!("({i}, {j})"), limit, ""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rbm;
    use crate::random::{Purpose, Stream};

    const BOUNDARIES: [Boundary; 3] = [Boundary::Open, Boundary::Cylinder, Boundary::Torus];

    fn lattice(rows: usize, cols: usize, boundary: Boundary) -> IsingLattice {
        IsingLattice::new(rows, cols, boundary, 0.3, 0.0).unwrap()
    }

    #[test]
    fn chessboards_and_greedy_classes_colour_every_lattice() {
        for boundary in BOUNDARIES {
            for (rows, cols) in [(1, 1), (1, 2), (2, 2), (4, 6), (3, 4), (4, 5), (5, 5), (1, 7)] {
                let lattice = lattice(rows, cols, boundary);
                let greedy = Colouring::of(&lattice).unwrap();
                greedy.check(&lattice).unwrap();
                let again =
                    Colouring::new(rows * cols, &lattice.interactions().unwrap(), greedy.classes().to_vec());
                assert_eq!(again.unwrap(), greedy);
                let odd = |side: usize| side > 1 && side % 2 == 1;
                let impossible = match boundary {
                    Boundary::Open => false,
                    Boundary::Cylinder => odd(cols),
                    Boundary::Torus => odd(cols) || odd(rows),
                };
                match Colouring::checkerboard(&lattice) {
                    Ok(two) => {
                        assert!(!impossible && two.classes().len() <= 2);
                        two.check(&lattice).unwrap();
                    }
                    Err(_) => assert!(impossible),
                }
            }
        }
    }

    /// Greedy on random graphs: always valid, at most one class more than the largest degree.
    #[test]
    fn greedy_classes_of_random_graphs() {
        let mut stream = Stream::new(0, Purpose::User, 0);
        for _ in 0..50 {
            let n = 1 + stream.below(20);
            let mut pairs = vec![];
            let mut degree = vec![0; n];
            for i in 0..n {
                for j in 0..i {
                    if stream.uniform() < 0.3 {
                        pairs.push((j, i));
                        degree[i] += 1;
                        degree[j] += 1;
                    }
                }
            }
            let colouring = Colouring::greedy(n, &pairs).unwrap();
            assert!(colouring.classes().len() <= 1 + degree.into_iter().max().unwrap());
            assert_eq!(Colouring::new(n, &pairs, colouring.classes().to_vec()).unwrap(), colouring);
        }
    }

    #[test]
    fn what_is_no_colouring_is_an_error() {
        let pairs = [(0, 1), (1, 2)];
        let text = |n, classes: &[&[usize]]| {
            let classes = classes.iter().map(|c| c.to_vec()).collect();
            Colouring::new(n, &pairs, classes).unwrap_err().to_string()
        };
        assert_eq!(text(0, &[]), "n_variables = 0: must be at least 1");
        assert_eq!(
            text(3, &[&[0, 2]]),
            "variable = 1 in no class: must be in one class; put it in one, or use Colouring::greedy"
        );
        assert_eq!(
            text(3, &[&[0, 2], &[1, 2]]),
            "variable = 2 in class 1: must be in one class, found in class 0 too"
        );
        assert_eq!(text(3, &[&[0, 3], &[1]]), "variable = 3 in class 0: must be below 3");
        let neighbours = text(3, &[&[0], &[1, 2]]);
        assert!(
            neighbours.starts_with("variables = 1 and 2 in class 1: must be in different"),
            "{neighbours}"
        );
        assert!(text(2, &[&[0], &[1]]).starts_with("interaction = (1, 2)"));
        let odd = Colouring::checkerboard(&lattice(4, 5, Boundary::Torus)).unwrap_err().to_string();
        assert!(
            odd.starts_with("cols of a lattice with two colours = 5: must be even") && odd.contains("greedy")
        );
        let rbm = Rbm::new(vec![1.0; 2], vec![0.0; 2], vec![0.0]).unwrap();
        assert!(
            Colouring::of(&rbm).unwrap_err().to_string().contains("interactions of the energy = unknown")
        );
        let two = Colouring::greedy(2, &[]).unwrap();
        assert!(two.check(&lattice(2, 2, Boundary::Open)).is_err());
        assert!(two.check(&lattice(1, 2, Boundary::Open)).is_err());
        assert_eq!(two.classes(), [[0, 1]]);
        two.check(&rbm).unwrap();
    }
}
