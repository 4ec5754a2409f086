"""The papers behind the attacks and the built-in defenses, as BibTeX: plugins name them in `citation`."""

from __future__ import annotations

GOODFELLOW_2015 = """
@inproceedings{goodfellow2015explaining,
  title = {Explaining and Harnessing Adversarial Examples},
  author = {Goodfellow, Ian J. and Shlens, Jonathon and Szegedy, Christian},
  booktitle = {3rd International Conference on Learning Representations ({ICLR})},
  year = {2015},
  url = {https://arxiv.org/abs/1412.6572}
}
"""
MIYATO_2017 = """
@inproceedings{miyato2017adversarial,
  title = {Adversarial Training Methods for Semi-Supervised Text Classification},
  author = {Miyato, Takeru and Dai, Andrew M. and Goodfellow, Ian},
  booktitle = {5th International Conference on Learning Representations ({ICLR})},
  year = {2017},
  url = {https://arxiv.org/abs/1605.07725}
}
"""
MADRY_2018 = """
@inproceedings{madry2018towards,
  title = {Towards Deep Learning Models Resistant to Adversarial Attacks},
  author = {Madry, Aleksander and Makelov, Aleksandar and Schmidt, Ludwig and Tsipras, Dimitris and Vladu, Adrian},
  booktitle = {6th International Conference on Learning Representations ({ICLR})},
  year = {2018},
  url = {https://arxiv.org/abs/1706.06083}
}
"""
CROCE_2020 = """
@inproceedings{croce2020reliable,
  title = {Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks},
  author = {Croce, Francesco and Hein, Matthias},
  booktitle = {Proceedings of the 37th International Conference on Machine Learning ({ICML})},
  series = {Proceedings of Machine Learning Research},
  volume = {119}, pages = {2206--2216}, year = {2020},
  url = {https://proceedings.mlr.press/v119/croce20b.html}
}
"""
RONY_2019 = """
@inproceedings{rony2019decoupling,
  title = {Decoupling Direction and Norm for Efficient Gradient-Based {L2} Adversarial Attacks and Defenses},
  author = {Rony, J{\\'e}r{\\^o}me and Hafemann, Luiz G. and Oliveira, Luiz S. and Ben Ayed, Ismail and Sabourin, Robert and Granger, Eric},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition ({CVPR})},
  pages = {4322--4330}, year = {2019},
  url = {https://arxiv.org/abs/1811.09600}
}
"""  # noqa: E501  an author list is one line
PINTOR_2021 = """
@inproceedings{pintor2021fast,
  title = {Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints},
  author = {Pintor, Maura and Roli, Fabio and Brendel, Wieland and Biggio, Battista},
  booktitle = {Advances in Neural Information Processing Systems 34 ({NeurIPS})},
  year = {2021},
  url = {https://arxiv.org/abs/2102.12827}
}
"""
ANDRIUSHCHENKO_2020 = """
@inproceedings{andriushchenko2020square,
  title = {Square Attack: A Query-Efficient Black-Box Adversarial Attack via Random Search},
  author = {Andriushchenko, Maksym and Croce, Francesco and Flammarion, Nicolas and Hein, Matthias},
  booktitle = {Computer Vision -- {ECCV} 2020},
  year = {2020},
  url = {https://arxiv.org/abs/1912.00049}
}
"""
EBRAHIMI_2018 = """
@inproceedings{ebrahimi2018hotflip,
  title = {{HotFlip}: White-Box Adversarial Examples for Text Classification},
  author = {Ebrahimi, Javid and Rao, Anyi and Lowd, Daniel and Dou, Dejing},
  booktitle = {Proceedings of the 56th Annual Meeting of the Association for Computational Linguistics (Short Papers)},
  pages = {31--36}, year = {2018},
  doi = {10.18653/v1/P18-2006}
}
"""
WALLACE_2019 = """
@inproceedings{wallace2019universal,
  title = {Universal Adversarial Triggers for Attacking and Analyzing {NLP}},
  author = {Wallace, Eric and Feng, Shi and Kandpal, Nikhil and Gardner, Matt and Singh, Sameer},
  booktitle = {Proceedings of the 2019 Conference on Empirical Methods in Natural Language Processing ({EMNLP-IJCNLP})},
  pages = {2153--2162}, year = {2019},
  doi = {10.18653/v1/D19-1221}
}
"""
JIN_2020 = """
@inproceedings{jin2020bert,
  title = {Is {BERT} Really Robust? {A} Strong Baseline for Natural Language Attack on Text Classification
    and Entailment},
  author = {Jin, Di and Jin, Zhijing and Zhou, Joey Tianyi and Szolovits, Peter},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  volume = {34}, pages = {8018--8025}, year = {2020},
  doi = {10.1609/aaai.v34i05.6311}
}
"""
GAO_2018 = """
@inproceedings{gao2018black,
  title = {Black-Box Generation of Adversarial Text Sequences to Evade Deep Learning Classifiers},
  author = {Gao, Ji and Lanchantin, Jack and Soffa, Mary Lou and Qi, Yanjun},
  booktitle = {2018 IEEE Security and Privacy Workshops ({SPW})},
  pages = {50--56}, year = {2018},
  doi = {10.1109/SPW.2018.00016}
}
"""
LI_2019 = """
@inproceedings{li2019textbugger,
  title = {{TextBugger}: Generating Adversarial Text Against Real-world Applications},
  author = {Li, Jinfeng and Ji, Shouling and Du, Tianyu and Li, Bo and Wang, Ting},
  booktitle = {Network and Distributed System Security Symposium ({NDSS})},
  year = {2019},
  doi = {10.14722/ndss.2019.23138}
}
"""
YUE_2022 = """
@inproceedings{yue2022defending,
  title = {Defending Substitution-Based Profile Pollution Attacks on Sequential Recommenders},
  author = {Yue, Zhenrui and Zeng, Huimin and Kou, Ziyi and Shang, Lanyu and Wang, Dong},
  booktitle = {Proceedings of the 16th ACM Conference on Recommender Systems ({RecSys})},
  pages = {59--70}, year = {2022},
  doi = {10.1145/3523227.3546770}
}
"""
PAPERNOT_2016 = """
@misc{papernot2016transferability,
  title = {Transferability in Machine Learning: from Phenomena to Black-Box Attacks using Adversarial Samples},
  author = {Papernot, Nicolas and McDaniel, Patrick and Goodfellow, Ian},
  year = {2016}, eprint = {1605.07277}, archiveprefix = {arXiv},
  url = {https://arxiv.org/abs/1605.07277}
}
"""
