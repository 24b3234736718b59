//! Where packing takes draws from: a folder of growing files, or memory. Read in pieces, never whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ebm_core::{Error, Result};

use super::arrays::DrawArrays;
use super::folder::{files_of, parse_file_name};
use super::npy::{GrowingFile, HEADER, Kind};

/// One named array of the draws: the positions `[chain, draw, width]` or a statistic `[chain, draw]`.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub name: String,
    pub kind: Kind,
    pub width: Option<usize>,
}

impl Variable {
    pub fn row_bytes(&self) -> usize {
        self.width.unwrap_or(1) * self.kind.bytes()
    }
}

/// Draws that can be read piece by piece.
pub(super) trait Source {
    /// The positions, then the statistics.
    fn variables(&self) -> &[Variable];
    fn n_chains(&self) -> usize;
    fn n_draws(&self) -> usize;
    /// Some draws of a variable in one chain, as the bytes of a `.npy` file; replaces what `out` held.
    fn read(&mut self, variable: usize, chain: usize, draws: Range<usize>, out: &mut Vec<u8>) -> Result<()>;
}

/// Growing files.
pub(super) struct FolderSource {
    variables: Vec<Variable>,
    /// `files[variable][chain]`.
    files: Vec<Vec<PathBuf>>,
    n_draws: usize,
    /// The file that was read last.
    open: Option<(usize, usize, File)>,
}

impl FolderSource {
    pub fn new(folder: &Path, shortest: bool) -> Result<Self> {
        let mut found: BTreeMap<(String, usize), GrowingFile> = BTreeMap::new();
        for path in files_of(folder)? {
            if let Some((chain, name)) = parse_file_name(&path) {
                let key = (name.to_owned(), chain);
                found.insert(key, GrowingFile::open(path)?);
            }
        }
        let mut names: Vec<&str> = found.keys().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        // Positions have an axis more, and come first.
        let width_of = |name: &str| found.iter().find(|((n, _), _)| n == name).and_then(|(_, f)| f.width);
        names.sort_by_key(|name| width_of(name).is_none());
        let n_chains = found.keys().map(|(_, chain)| chain + 1).max().unwrap_or(0);
        if names.first().is_none_or(|name| width_of(name).is_none()) {
            return Err(Error::data(folder, None, "holds no growing draws (files named chain-0.x.npy)"));
        }
        let n_draws = n_draws(found.values(), shortest)?;
        let (mut variables, mut files) = (Vec::new(), Vec::new());
        for name in names {
            let mut of_chains = Vec::with_capacity(n_chains);
            for chain in 0..n_chains {
                let Some(file) = found.get(&(name.to_owned(), chain)) else {
                    let problem = format!("chain {chain} has no {name}: every chain needs every quantity");
                    return Err(Error::data(folder, None, problem));
                };
                if chain == 0 {
                    variables.push(Variable { name: name.to_owned(), kind: file.kind, width: file.width });
                } else if variables.last().is_none_or(|v| (v.kind, v.width) != (file.kind, file.width)) {
                    return Err(Error::data(&file.path, None, "has another shape or kind than in chain 0"));
                }
                of_chains.push(file.path.clone());
            }
            files.push(of_chains);
        }
        if let Some(second) = variables.iter().skip(1).find(|v| v.width.is_some()) {
            let problem = format!("{} and {} both have rows of numbers", variables[0].name, second.name);
            return Err(Error::data(folder, None, problem));
        }
        Ok(Self { variables, files, n_draws, open: None })
    }

    /// Delete the growing files.
    pub fn remove(self) -> Result<()> {
        for file in self.files.iter().flatten() {
            fs::remove_file(file).map_err(|e| Error::io(file, e))?;
        }
        Ok(())
    }
}

/// The number of draws that all files have.
fn n_draws<'a>(files: impl Iterator<Item = &'a GrowingFile> + Clone, shortest: bool) -> Result<usize> {
    let least = files.clone().min_by_key(|file| file.rows);
    let most = files.max_by_key(|file| file.rows);
    match (least, most) {
        (Some(least), Some(most)) if least.rows < most.rows && !shortest => {
            let problem = format!(
                "has {} draws, {} has {}; finish the run, or set Packing::shortest",
                least.rows,
                most.path.display(),
                most.rows
            );
            Err(Error::data(&least.path, None, problem))
        }
        (least, _) => Ok(least.map_or(0, |file| file.rows)),
    }
}

impl Source for FolderSource {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn n_chains(&self) -> usize {
        self.files.first().map_or(0, Vec::len)
    }

    fn n_draws(&self) -> usize {
        self.n_draws
    }

    fn read(&mut self, variable: usize, chain: usize, draws: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let path = &self.files[variable][chain];
        let io = |e| Error::io(path, e);
        let mut file = match self.open.take() {
            Some((v, c, file)) if (v, c) == (variable, chain) => file,
            _ => File::open(path).map_err(io)?,
        };
        let row = self.variables[variable].row_bytes();
        out.resize(draws.len() * row, 0);
        file.seek(SeekFrom::Start((HEADER + draws.start * row) as u64)).map_err(io)?;
        file.read_exact(out).map_err(io)?;
        self.open = Some((variable, chain, file));
        Ok(())
    }
}

/// Arrays in memory.
pub(super) struct ArraySource<'a> {
    arrays: &'a DrawArrays,
    variables: Vec<Variable>,
}

impl<'a> ArraySource<'a> {
    pub fn new(arrays: &'a DrawArrays) -> Self {
        let (_, _, dim) = arrays.positions.dim();
        let positions = Variable { name: arrays.name.clone(), kind: Kind::Real, width: Some(dim) };
        let statistic = |(name, _): &(String, _)| Variable {
            name: name.clone(),
            kind: Kind::of_statistic(name),
            width: None,
        };
        let variables = std::iter::once(positions).chain(arrays.statistics.iter().map(statistic)).collect();
        Self { arrays, variables }
    }
}

impl Source for ArraySource<'_> {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn n_chains(&self) -> usize {
        self.arrays.positions.dim().0
    }

    fn n_draws(&self) -> usize {
        self.arrays.positions.dim().1
    }

    fn read(&mut self, variable: usize, chain: usize, draws: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let Variable { kind, name, .. } = &self.variables[variable];
        let part = ndarray::s![chain, draws.clone(), ..];
        let mut put = |value: &f64| kind.encode(name, *value, out);
        match variable.checked_sub(1) {
            None => self.arrays.positions.slice(part).iter().try_for_each(&mut put),
            Some(i) => {
                let values = self.arrays.statistics[i].1.slice(ndarray::s![chain, draws]);
                values.iter().try_for_each(&mut put)
            }
        }
    }
}
