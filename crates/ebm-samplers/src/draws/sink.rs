//! The sink into growing `.npy` files: constant memory, no open files, goes on after an interruption.

use std::path::Path;
use std::sync::atomic::Ordering;

use ebm_core::{Error, Result};

use super::folder::{DrawFolder, check_name};
use super::npy::{GrowingFile, Kind};
use crate::sample::DrawSink;

/// The draws of one point on their way into a [`DrawFolder`]; made by [`DrawFolder::sink`].
#[derive(Debug)]
pub struct NpySink {
    folder: DrawFolder,
    first_chain: usize,
    /// Draws that stand from before an interruption.
    after: usize,
    n_chains: usize,
    /// One for each chain.
    positions: Vec<Column>,
    /// The names of the statistics, and statistic `i` of chain `c` at `i * n_chains + c`.
    names: Vec<&'static str>,
    statistics: Vec<Column>,
    /// Draws in memory, and how many may be there.
    n_pending: usize,
    most_pending: usize,
}

/// A file and what waits for it.
#[derive(Debug)]
struct Column {
    file: GrowingFile,
    pending: Vec<u8>,
}

impl Column {
    /// Bring the file to `rows` rows; the file counts those that it has, so a failed write can be tried again.
    fn spill(&mut self, rows: usize, sync: bool) -> Result<()> {
        let bytes = rows.saturating_sub(self.file.rows) * self.file.row_bytes();
        self.file.append(&self.pending[..bytes], sync)?;
        self.pending.drain(..bytes);
        Ok(())
    }

    /// Rows in the file and in memory.
    fn rows(&self) -> usize {
        self.file.rows + self.pending.len() / self.file.row_bytes()
    }
}

impl NpySink {
    pub(super) fn new(folder: DrawFolder, first_chain: usize) -> Self {
        Self {
            folder,
            first_chain,
            after: 0,
            n_chains: 0,
            positions: Vec::new(),
            names: Vec::new(),
            statistics: Vec::new(),
            n_pending: 0,
            most_pending: 1,
        }
    }

    fn column(&self, chain: usize, name: &str, kind: Kind, width: Option<usize>) -> Result<Column> {
        let path = self.folder.file(self.first_chain + chain, name);
        let file = if self.folder.resumes && (self.after > 0 || path.exists()) {
            self.check_restored(&path)?;
            GrowingFile::reopen(path, kind, width, self.after)?
        } else {
            GrowingFile::create(path, kind, width)?
        };
        Ok(Column { file, pending: Vec::new() })
    }

    /// Draws are dropped only where a restored sampler will draw them again. A point that had not begun when the
    /// sampler was saved is not told where to go on; the others are.
    fn check_restored(&self, path: &Path) -> Result<()> {
        if !self.folder.restored.load(Ordering::Relaxed) {
            let rows = GrowingFile::open(path.to_owned())?.rows;
            if rows > 0 {
                let problem = format!(
                    "holds {rows} draws, and no sampler was restored that goes on after them; restore it first, or \
                     begin anew with DrawFolder::overwrite"
                );
                return Err(Error::data(path, None, problem));
            }
        }
        Ok(())
    }

    fn open(&mut self, draw: &[f64]) -> Result<()> {
        let dim = self.folder.dim;
        if draw.is_empty() || !draw.len().is_multiple_of(dim) {
            return Err(Error::shape("draw", format_args!("[n_chains * {dim}]"), draw.len()));
        }
        let n_chains = draw.len() / dim;
        let name = self.folder.name.clone();
        let columns = (0..n_chains).map(|c| self.column(c, &name, Kind::Real, Some(dim)));
        self.positions = columns.collect::<Result<_>>()?;
        self.n_chains = n_chains;
        self.set_room();
        Ok(())
    }

    fn open_statistics(&mut self, names: &[&'static str]) -> Result<()> {
        for (i, name) in names.iter().enumerate() {
            check_name("name of a statistic", name)?;
            if *name == self.folder.name || names[..i].contains(name) {
                let fix = "name the positions with DrawFolder::name";
                return Err(Error::bad_value("name of a statistic", name, "a name of its own", fix));
            }
        }
        let mut columns = Vec::with_capacity(names.len() * self.n_chains);
        for name in names {
            for c in 0..self.n_chains {
                columns.push(self.column(c, name, Kind::of_statistic(name), None)?);
            }
        }
        self.statistics = columns;
        self.names = names.to_vec();
        self.set_room();
        Ok(())
    }

    /// As many draws as fit into the buffer, with room for them from now on.
    fn set_room(&mut self) {
        let row = (self.folder.dim + self.names.len()) * size_of::<f64>();
        self.most_pending = (self.folder.buffer_bytes / row).max(1);
        for column in self.positions.iter_mut().chain(&mut self.statistics) {
            column.pending.reserve_exact(self.most_pending * column.file.row_bytes());
        }
    }

    /// Write the draws that wait, as far as all their statistics are there.
    fn spill(&mut self, sync: bool) -> Result<()> {
        let most = self.positions.first().map_or(0, Column::rows);
        let whole = self.statistics.iter().map(Column::rows).fold(most, usize::min);
        for column in self.positions.iter_mut().chain(&mut self.statistics) {
            column.spill(whole, sync)?;
        }
        self.n_pending = most - whole;
        if whole < most {
            return Err(Error::shape("statistics", "those of every draw", "a draw without them"));
        }
        Ok(())
    }
}

impl DrawSink for NpySink {
    fn write(&mut self, draw: &[f64]) -> Result<()> {
        if self.n_chains == 0 {
            self.open(draw)?;
        } else if self.n_pending == self.most_pending {
            self.spill(false)?;
        }
        let dim = self.folder.dim;
        if draw.len() != self.n_chains * dim {
            return Err(Error::shape("draw", self.n_chains * dim, draw.len()));
        }
        for (column, row) in self.positions.iter_mut().zip(draw.chunks_exact(dim)) {
            for x in row {
                column.pending.extend_from_slice(&x.to_le_bytes());
            }
        }
        self.n_pending += 1;
        Ok(())
    }

    fn write_statistics(&mut self, names: &[&'static str], values: &[f64]) -> Result<()> {
        if values.len() != names.len() * self.n_chains {
            return Err(Error::shape("statistics", [names.len(), self.n_chains], values.len()));
        }
        if self.statistics.is_empty() && !names.is_empty() {
            self.open_statistics(names)?;
        } else if self.names != names {
            return Err(Error::shape("names of the statistics", &self.names, names));
        }
        for (i, (column, value)) in self.statistics.iter_mut().zip(values).enumerate() {
            column.file.kind.encode(self.names[i / self.n_chains], *value, &mut column.pending)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.spill(true)
    }

    /// Go on after the first `n_draws` draws of each chain; at the next draw whatever lies beyond them is dropped.
    fn resume_at(&mut self, n_draws: usize) -> Result<()> {
        if !self.folder.resumes && n_draws > 0 {
            let fix = "open the folder with DrawFolder::resume";
            return Err(Error::bad_value("draws that stand", n_draws, "0 in a new folder", fix));
        }
        self.folder.restored.store(true, Ordering::Relaxed);
        // Draws that wait are forgotten with the rest; files are opened again when needed.
        self.positions.clear();
        self.statistics.clear();
        self.names.clear();
        (self.after, self.n_chains, self.n_pending) = (n_draws, 0, 0);
        Ok(())
    }
}

impl Drop for NpySink {
    /// A run that ends by an error keeps its draws. Whoever wants to know whether they were written calls `flush`.
    fn drop(&mut self) {
        let _ = self.spill(false);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    const NAMES: [&str; 3] = ["lp", "diverging", "tree_depth"];

    /// Draws `from..to` of two chains of two coordinates, with statistics.
    fn write(sink: &mut NpySink, from: usize, to: usize) {
        for t in from..to {
            let x = t as f64;
            sink.write(&[x, -x, 100.0 + x, f64::NAN]).unwrap();
            let statistics = [-x, x / 3.0, f64::from(u8::from(t % 3 == 0)), 0.0, 5.0, x];
            sink.write_statistics(&NAMES, &statistics).unwrap();
        }
    }

    fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let file = |path: std::path::PathBuf| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        };
        super::super::folder::files_of(folder).unwrap().into_iter().map(file).collect()
    }

    /// Interrupted anywhere, with any buffer: the same bytes as without.
    #[test]
    fn a_resumed_run_continues_exactly() {
        let root = tempfile::tempdir().unwrap();
        let whole = root.path().join("whole");
        write(&mut DrawFolder::create(&whole, 2).unwrap().sink(3), 0, 20);
        let expected = contents(&whole);
        assert_eq!(expected.len(), 8);
        assert_eq!(expected["chain-3.x.npy"].len(), 128 + 20 * 2 * 8);
        assert_eq!(expected["chain-4.diverging.npy"].len(), 128 + 20);
        for saved in [0, 1, 7, 12] {
            for buffer in [0, 100, 1000] {
                let path = root.path().join(format!("{saved}-{buffer}"));
                let folder = DrawFolder::create(&path, 2).unwrap().buffer_bytes(buffer);
                let mut sink = folder.sink(3);
                write(&mut sink, 0, saved);
                sink.flush().unwrap();
                // These come after the state was saved; a resumed run makes them again.
                write(&mut sink, 900, 905);
                drop(sink);
                let folder = DrawFolder::resume(&path, 2).unwrap().buffer_bytes(buffer);
                let mut sink = folder.sink(3);
                sink.resume_at(saved).unwrap();
                write(&mut sink, saved, 20);
                sink.flush().unwrap();
                assert!(contents(&path) == expected, "{saved} {buffer}");
            }
        }
    }

    #[test]
    fn flushed_draws_can_be_read() {
        let root = tempfile::tempdir().unwrap();
        let mut sink = DrawFolder::create(root.path(), 2).unwrap().name("theta").unwrap().sink(0);
        sink.flush().unwrap();
        write(&mut sink, 0, 5);
        sink.flush().unwrap();
        let file = GrowingFile::open(root.path().join("chain-1.theta.npy")).unwrap();
        assert_eq!((file.rows, file.width), (5, Some(2)));
    }

    #[test]
    fn draws_that_are_there_are_safe() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("draws");
        let folder = DrawFolder::create(&path, 2).unwrap();
        write(&mut folder.sink(0), 0, 5);
        fs::write(path.join("notes.npy"), "mine").unwrap();
        let before = contents(&path);
        let text = DrawFolder::create(&path, 2).unwrap_err().to_string();
        assert!(text.contains("chain-0.diverging.npy") && text.contains("overwrite"), "{text}");
        // Two points that claim the same chain, and a resumed run that has more than is there.
        let text = folder.sink(1).write(&[0.0; 2]).unwrap_err().to_string();
        assert!(text.contains("share a chain"), "{text}");
        assert!(folder.sink(7).resume_at(2).is_err());
        let mut resumed = DrawFolder::resume(&path, 2).unwrap().sink(0);
        resumed.resume_at(6).unwrap();
        let text = resumed.write(&[0.0; 4]).unwrap_err().to_string();
        assert!(text.contains("holds 5 draws"), "{text}");
        let text = DrawFolder::resume(&path, 2).unwrap().sink(0).write(&[0.0; 4]).unwrap_err().to_string();
        assert!(text.contains("no sampler was restored"), "{text}");
        assert!(contents(&path) == before);
        DrawFolder::overwrite(&path, 2).unwrap();
        assert_eq!(contents(&path).into_keys().collect::<Vec<_>>(), ["notes.npy"]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = DrawFolder::create(root.path(), 2).unwrap();
        assert!(DrawFolder::create(root.path(), 0).is_err());
        assert!(folder.clone().name("a/b").is_err());
        let mut sink = folder.sink(0);
        assert!(sink.write(&[0.0; 3]).is_err() && sink.write(&[]).is_err());
        sink.write(&[0.0; 4]).unwrap();
        assert!(sink.write(&[0.0; 2]).is_err());
        assert!(sink.write_statistics(&["lp"], &[0.0]).is_err());
        assert!(sink.write_statistics(&["x"], &[0.0; 2]).is_err());
        assert!(sink.write_statistics(&["lp", "lp"], &[0.0; 4]).is_err());
        sink.write_statistics(&["lp"], &[0.0; 2]).unwrap();
        sink.write(&[0.0; 4]).unwrap();
        assert!(sink.write_statistics(&["energy"], &[0.0; 2]).is_err());
        let text = sink.flush().unwrap_err().to_string();
        assert!(text.contains("without them"), "{text}");
    }
}
