/** ESLint: typescript-eslint's strict type-checked rules, the direction of dependencies between packages, and who may import TensorFlow.js. */
import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

/** The direction of dependencies: cli -> data, models, strategies, native -> core; siblings never import each other. */
export const DEPENDENCY_CONSTRAINTS = [
  {
    sourceTag: 'scope:cli',
    onlyDependOnLibsWithTags: ['scope:data', 'scope:models', 'scope:strategies', 'scope:native', 'scope:core'],
  },
  ...['data', 'models', 'strategies', 'native'].map((name) => ({
    sourceTag: `scope:${name}`,
    onlyDependOnLibsWithTags: [`scope:${name}`, 'scope:core'],
  })),
  { sourceTag: 'scope:core', onlyDependOnLibsWithTags: ['scope:core'] },
  {
    sourceTag: 'scope:tools',
    onlyDependOnLibsWithTags: ['scope:core', 'scope:models', 'scope:data', 'scope:strategies', 'scope:native'],
  },
];

const TENSORFLOW_MESSAGE =
  'TensorFlow.js is imported in packages/core/src/tensors.ts, packages/core/src/accelerators and packages/native/src/backend.ts only: import `tf` from there (inside core) or from @tensorloom/core.';

/** The command has no exports, so Nx's rule does not see this name. */
const NOBODY_IMPORTS_THE_COMMAND = {
  group: ['@tensorloom/cli', '@tensorloom/cli/*'],
  message: 'Nothing imports the command: move what is shared into a package.',
};

export default tseslint.config(
  {
    ignores: [
      '**/dist/**',
      '**/node_modules/**',
      '.nx/**',
      'docs/api/**',
      'runs/**',
      '**/.venv/**',
      '**/fixtures/**',
      '**/target/**',
    ],
  },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    plugins: { '@nx': nx },
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ['*/*/vitest.config.ts'] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        { depConstraints: DEPENDENCY_CONSTRAINTS, enforceBuildableLibDependency: false },
      ],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // Methods of an interface that is asynchronous for others need no await of their own.
      '@typescript-eslint/require-await': 'off',
      // What the types exclude is still checked where callers without types may come in.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-unnecessary-boolean-literal-compare': 'off',
      // Indexing a typed array gives `number | undefined` under noUncheckedIndexedAccess: `!` says that the index is in range.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/unbound-method': ['error', { ignoreStatic: true }],
      eqeqeq: 'error',
      'no-restricted-imports': [
        'error',
        { patterns: [{ group: ['@tensorflow/*'], message: TENSORFLOW_MESSAGE }, NOBODY_IMPORTS_THE_COMMAND] },
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ExportDefaultDeclaration',
          message: 'Export by name; default exports are for configuration files.',
        },
        { selector: 'TSEnumDeclaration', message: 'Use a union of string literals.' },
        { selector: 'ImportExpression[source.value=/^@tensorflow\\//]', message: TENSORFLOW_MESSAGE },
      ],
    },
  },
  {
    files: ['packages/core/src/tensors.ts', 'packages/core/src/accelerators/**/*.ts', 'packages/native/src/backend.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [NOBODY_IMPORTS_THE_COMMAND] }],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ExportDefaultDeclaration',
          message: 'Export by name; default exports are for configuration files.',
        },
        { selector: 'TSEnumDeclaration', message: 'Use a union of string literals.' },
      ],
    },
  },
  {
    files: ['**/*.test.ts', '**/*.testing.ts', '**/testing/**/*.ts'],
    rules: {
      // vitest's matchers (expect.objectContaining and the like) and what tests read back from JSON are typed any.
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/unbound-method': 'off',
      // Misuse by a caller without types is what some tests are about.
      '@typescript-eslint/no-dynamic-delete': 'off',
      '@typescript-eslint/no-misused-spread': 'off',
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
    },
  },
  {
    files: ['**/*.config.ts', 'tools/vitest.shared.ts'],
    extends: [tseslint.configs.disableTypeChecked],
    rules: { 'no-restricted-syntax': 'off', '@nx/enforce-module-boundaries': 'off' },
  },
);
