//! Memory that a thread keeps for attention, and how operands get there: as float32, row after row, filled up to whole blocks.

use super::TILE;
use super::product::COLUMNS;
use crate::error::Result;
use crate::storage::View;
use std::cell::RefCell;

/// Buffers of one thread. What is in them is left from whatever was computed before.
#[derive(Default)]
pub struct Workspace {
    /// Keys of a head.
    pub keys: Vec<f32>,
    /// Values of a head.
    pub values: Vec<f32>,
    /// Gradients of keys.
    pub key_gradients: Vec<f32>,
    /// Gradients of values.
    pub value_gradients: Vec<f32>,
    /// A tile of queries, divided by the root of their length.
    pub queries: Vec<f32>,
    /// The same, transposed.
    pub queries_transposed: Vec<f32>,
    /// A tile of the context, or of its gradient.
    pub context: Vec<f32>,
    /// The same, transposed.
    pub context_transposed: Vec<f32>,
    /// Gradients of a tile of queries.
    pub query_gradients: Vec<f32>,
    /// Scores of a tile.
    pub scores: Vec<f32>,
    /// Gradients of scores of a tile.
    pub score_gradients: Vec<f32>,
    /// A row of halves, as float32.
    pub row: Vec<f32>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

impl Workspace {
    /// Calls `work` with this thread's buffers, large enough for so many tiles of keys.
    pub fn with<T>(tiles: usize, width: usize, backward: bool, work: impl FnOnce(&mut Self) -> T) -> T {
        WORKSPACE.with_borrow_mut(|workspace| {
            let (sequence, tile) = (tiles * TILE * width, TILE * width);
            grow(&mut workspace.keys, sequence);
            grow(&mut workspace.values, sequence);
            for buffer in [&mut workspace.queries, &mut workspace.queries_transposed, &mut workspace.context] {
                grow(buffer, tile);
            }
            grow(&mut workspace.scores, TILE * TILE);
            if backward {
                grow(&mut workspace.key_gradients, sequence);
                grow(&mut workspace.value_gradients, sequence);
                grow(&mut workspace.context_transposed, tile);
                grow(&mut workspace.query_gradients, tile);
                grow(&mut workspace.score_gradients, TILE * TILE);
            }
            work(workspace)
        })
    }
}

fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        // Without copying what it had.
        *buffer = vec![0.0; len];
    }
}

/// Values of a head in a row, filled up to whole blocks.
pub fn padded(dim: usize) -> usize {
    dim.next_multiple_of(COLUMNS)
}

/// Rows of an operand that belong to one head.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// The operand.
    pub view: View<'a>,
    /// Where the first row begins.
    pub start: usize,
    /// Elements from one row to the next.
    pub stride: usize,
    /// Elements of a row.
    pub dim: usize,
}

impl<'a> Rows<'a> {
    /// Row `i` as float32, where it lies or converted.
    #[inline(always)]
    pub fn row<'s>(&self, i: usize, scratch: &'s mut Vec<f32>) -> Result<&'s [f32]>
    where
        'a: 's,
    {
        let start = self.start + i * self.stride;
        self.view.floats(start..start + self.dim, scratch)
    }

    /// Copies rows `first..first + count`, multiplied by `scale`, to `to`; what is left there of whole tiles becomes zero.
    #[inline(always)]
    pub fn pack(&self, first: usize, count: usize, scale: f32, to: &mut [f32], scratch: &mut Vec<f32>) -> Result<()> {
        let width = padded(self.dim);
        for i in 0..count {
            let from = self.row(first + i, scratch)?;
            let (row, rest) = to[i * width..][..width].split_at_mut(self.dim);
            for (to, from) in row.iter_mut().zip(from) {
                *to = from * scale;
            }
            rest.fill(0.0);
        }
        to[count * width..count.next_multiple_of(TILE) * width].fill(0.0);
        Ok(())
    }
}

/// `[TILE, width]` to `[width, TILE]`, of which `rows` rows (and the rest of their block) are needed.
#[inline(always)]
pub fn transpose(from: &[f32], width: usize, rows: usize, to: &mut [f32]) {
    const SIDE: usize = 8;
    assert!(from.len() >= TILE * width && to.len() >= TILE * width && width.is_multiple_of(SIDE));
    for i in (0..rows.next_multiple_of(COLUMNS)).step_by(SIDE) {
        for j in (0..width).step_by(SIDE) {
            let mut block = [[0.0; SIDE]; SIDE];
            for (row, to) in block.iter_mut().enumerate() {
                to.copy_from_slice(&from[(i + row) * width + j..][..SIDE]);
            }
            for column in 0..SIDE {
                let to = &mut to[(j + column) * TILE + i..][..SIDE];
                for row in 0..SIDE {
                    to[row] = block[row][column];
                }
            }
        }
    }
}
