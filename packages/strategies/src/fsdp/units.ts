/** Which parameters of a module are gathered and freed together. */
import { Parameter, type Module } from '@tensorloom/core';

/** Says whether a module is a unit of its own. @param name in the module tree, `transformer.h.0` */
export type UnitPredicate = (module: Module, name: string) => boolean;

/** A module whose parameters are gathered before its forward and freed after it. */
export interface UnitMembers {
  readonly name: string;
  readonly module: Module;
  readonly parameters: readonly Parameter[];
}

/**
 * The units of a module tree in the order of its fields, the root last, which has what no other unit has.
 * A parameter is of the innermost unit around it; one that several units use is the root's.
 * @param isUnit default: elements of arrays of modules (transformer blocks) that are in no other unit
 */
export function findUnits(root: Module, isUnit?: UnitPredicate): UnitMembers[] {
  const unitOf = new Map<string, string>([['', '']]);
  const modules = new Map<string, Module>([['', root]]);
  const users = new Map<Parameter, Set<string>>();
  for (const [name, module] of root.namedModules()) {
    const parent = parentName(name, unitOf);
    const enclosing = parent === null ? '' : (unitOf.get(parent) as string);
    const opens = name !== '' && (isUnit?.(module, name) ?? (enclosing === '' && /\.\d+$|^\d+$/.test(name)));
    const unit = opens ? name : enclosing;
    unitOf.set(name, unit);
    if (opens) modules.set(name, module);
    for (const value of Object.values(module))
      if (value instanceof Parameter) users.set(value, (users.get(value) ?? new Set()).add(unit));
  }
  // The same module may be reached by several names: it is one unit.
  const names = new Map<Module, string>();
  for (const [name, module] of modules) if (!names.has(module)) names.set(module, name);
  const members = new Map<string, Parameter[]>([...names.values()].map((name) => [name, []]));
  for (const [, parameter] of root.namedParameters()) {
    const units = new Set(
      [...(users.get(parameter) ?? [])].map((name) => names.get(modules.get(name) as Module) ?? ''),
    );
    const unit = units.size === 1 ? ([...units][0] as string) : '';
    (members.get(unit) as Parameter[]).push(parameter);
  }
  const found = [...names].map(([module, name]) => ({ name, module, parameters: members.get(name) as Parameter[] }));
  return [...found.filter(({ name }) => name !== ''), ...found.filter(({ name }) => name === '')];
}

/** The nearest enclosing name that has been seen: names are field paths, and an array adds its index to its field's. */
function parentName(name: string, seen: ReadonlyMap<string, string>): string | null {
  if (name === '') return null;
  for (let end = name.lastIndexOf('.'); end > 0; end = name.lastIndexOf('.', end - 1))
    if (seen.has(name.slice(0, end))) return name.slice(0, end);
  return '';
}
