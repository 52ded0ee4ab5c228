//! The block in double precision, by its definition.

/// A block's parameters in the order of its steps, and its constants.
pub struct Reference {
    pub parameters: Vec<Vec<f64>>,
    pub slopes: Vec<f64>,
    pub epsilon: f64,
    pub after_norm: bool,
    pub batch: usize,
    pub seq: usize,
    pub mask: Vec<i32>,
}

fn norm(x: &[f64], weight: &[f64], bias: &[f64], epsilon: f64) -> Vec<f64> {
    let width = weight.len();
    x.chunks(width)
        .flat_map(|row| {
            let mean = row.iter().sum::<f64>() / width as f64;
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width as f64;
            let inverse = 1.0 / (variance + epsilon).sqrt();
            row.iter().zip(weight).zip(bias).map(move |((x, w), b)| (x - mean) * inverse * w + b).collect::<Vec<_>>()
        })
        .collect()
}

fn linear(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let inner = weight.len() / bias.len();
    x.chunks(inner)
        .flat_map(|row| {
            weight
                .chunks(inner)
                .zip(bias)
                .map(move |(w, b)| b + w.iter().zip(row).map(|(w, x)| w * x).sum::<f64>())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + (0.797_884_56 * (x + 0.044_715 * x * x * x)).tanh())
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

impl Reference {
    fn attention(&self, qkv: &[f64]) -> Vec<f64> {
        let heads = self.slopes.len();
        let dim = qkv.len() / (self.batch * self.seq * heads * 3);
        let part = |row: usize, head: usize, which: usize| &qkv[((row * heads + head) * 3 + which) * dim..][..dim];
        let mut context = vec![0.0; qkv.len() / 3];
        for batch in 0..self.batch {
            let mask = &self.mask[batch * self.seq..][..self.seq];
            let mut seen = 0.0;
            let positions: Vec<f64> = mask
                .iter()
                .map(|&m| {
                    seen += f64::from(m);
                    (seen - 1.0) * f64::from(m)
                })
                .collect();
            for (query, head) in (0..self.seq).flat_map(|query| (0..heads).map(move |head| (query, head))) {
                let row = batch * self.seq + query;
                let visible: Vec<usize> = (0..=query).filter(|&key| mask[key] != 0).collect();
                let all: Vec<usize> = (0..self.seq).collect();
                let keys = if visible.is_empty() { &all } else { &visible };
                let scores: Vec<f64> = keys
                    .iter()
                    .map(|&key| {
                        let other = part(batch * self.seq + key, head, 1);
                        let product: f64 = part(row, head, 0).iter().zip(other).map(|(q, k)| q * k).sum();
                        if visible.is_empty() {
                            0.0
                        } else {
                            product / (dim as f64).sqrt() + self.slopes[head] * positions[key]
                        }
                    })
                    .collect();
                let most = scores.iter().fold(f64::MIN, |most, &score| most.max(score));
                let exponentials: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let sum: f64 = exponentials.iter().sum();
                for (&key, e) in keys.iter().zip(&exponentials) {
                    let value = part(batch * self.seq + key, head, 2);
                    let to = &mut context[(row * heads + head) * dim..][..dim];
                    to.iter_mut().zip(value).for_each(|(to, value)| *to += e / sum * value);
                }
            }
        }
        context
    }

    /// The block's result for `x`.
    pub fn forward(&self, x: &[f64]) -> Vec<f64> {
        let p = &self.parameters;
        let normed = norm(x, &p[0], &p[1], self.epsilon);
        let context = self.attention(&linear(&normed, &p[2], &p[3]));
        let middle = add(&linear(&context, &p[4], &p[5]), if self.after_norm { &normed } else { x });
        let again = norm(&middle, &p[6], &p[7], self.epsilon);
        let activated: Vec<f64> = linear(&again, &p[8], &p[9]).into_iter().map(gelu).collect();
        add(&linear(&activated, &p[10], &p[11]), if self.after_norm { &again } else { &middle })
    }
}
