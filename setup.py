"""What setup.cfg cannot say: the recipes in configs/ are installed with the package."""

import setuptools

setuptools.setup(
  packages=[
    *setuptools.find_packages(include=['mlm_jax*']),
    'mlm_jax.configs',
    'mlm_jax.configs.finetune',
  ],
  package_dir={'mlm_jax.configs': 'configs'},
)
