import { Module, Parameter, tf } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { findUnits, type UnitPredicate } from './units.ts';

class Leaf extends Module {
  readonly weight = new Parameter(tf.ones([2]));
  override forward(): void {}
}

class Block extends Module {
  readonly inner = new Leaf();
  readonly experts = [new Leaf(), new Leaf()];
  override forward(): void {}
}

class Model extends Module {
  readonly embedding = new Leaf();
  readonly h = [new Block(), new Block()];
  readonly tied = this.h[1]?.inner;
  readonly again = [this.h[0]];
  override forward(): void {}
}

describe('the units of a module', () => {
  beforeAll(() => tf.setBackend('cpu'));

  const unitsOf = (model: Model, isUnit?: UnitPredicate) => {
    model.parameters();
    return findUnits(model, isUnit).map(({ name, parameters }) => [name, parameters.map((p) => p.name)]);
  };

  it('are the elements of arrays of modules, and the root with the rest and with what several share', () => {
    expect(unitsOf(new Model())).toEqual([
      ['h.0', ['h.0.inner.weight', 'h.0.experts.0.weight', 'h.0.experts.1.weight']],
      ['h.1', ['h.1.experts.0.weight', 'h.1.experts.1.weight']],
      ['', ['embedding.weight', 'h.1.inner.weight']],
    ]);
  });

  it('may be chosen, one inside another too', () => {
    const chosen: UnitPredicate = (module, name) => module instanceof Leaf || name === 'h.0';
    expect(unitsOf(new Model(), chosen)).toEqual([
      ['embedding', ['embedding.weight']],
      ['h.0', []],
      ['h.0.inner', ['h.0.inner.weight']],
      ['h.0.experts.0', ['h.0.experts.0.weight']],
      ['h.0.experts.1', ['h.0.experts.1.weight']],
      ['h.1.inner', ['h.1.inner.weight']],
      ['h.1.experts.0', ['h.1.experts.0.weight']],
      ['h.1.experts.1', ['h.1.experts.1.weight']],
      ['', []],
    ]);
  });
});
