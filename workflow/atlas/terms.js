"use strict";
// What the words mean, in one sentence or two; shown on hover, focus or tap, and in the help.
// docs/scores.md has the exact definitions.

const terms = (() => {
  const MEANING = {
    latent:
      "One direction of a dictionary: a number for each image that is above 0 where the dictionary finds its pattern.",
    dictionary:
      "A set of latents learnt from one layer of one backbone, or a baseline in its place: raw neurons, principal components, an autoencoder before training, random directions.",
    node: "A class, or a group of classes in the taxonomy, such as butterfly, with every class under it.",
    MCC: "Matthews correlation between “the latent fires strongly on the image” and “the image is under the node”: 1 is a perfect match, 0 is chance. The node and the cut-off are chosen on one half of the images; the number is from the other half.",
    "held-out classes":
      "A latent and a cut-off are chosen on half of a node's classes and half of the others; the MCC is of the classes that are left, on other images: mean over 20 such splits. A latent for one class gets nothing. With the classes rearranged it is near 0 for any dictionary; random directions show how much comes of related classes lying close together.",
    "own best":
      "Some latent recovers the node and matches it better than each of the nodes directly under it, on both halves of the images.",
    null: "Control: the classes change places in the taxonomy at random, which keeps each class together and destroys the hierarchy. Shown is the mean over the draws; the band ends at their 97.5th percentile. A score inside the band says nothing about hierarchy.",
    "minus null":
      "The MCC minus its mean when the classes change places in the taxonomy. What is left is owed to the hierarchy, not to single classes. Not defined for a single class.",
    recovered:
      "A node is recovered if some latent reaches the MCC threshold on both halves of the images. For a single class: if a latent whose own best node it is reaches it.",
    "null recovers":
      "Share of the random rearrangements of the classes in which the node would have counted as recovered, too.",
    "p-value":
      "Share of random rearrangements of the classes for which the latent's strongest images are at least as close in the taxonomy as they really are.",
    "q-value":
      "The p-value, corrected for the number of latents in the dictionary (Benjamini–Hochberg). Below the false discovery rate a latent counts as significant.",
    "pair-LCH":
      "Expected height of the lowest common node of two of the latent's strongest images of different classes. Low means that they are relatives.",
    LCH: "Lowest common node of the latent's strongest images; with τ, the deepest node that holds at least the share τ of them.",
    coherent:
      "The strongest images lie under one node that is neither a class nor most of the taxonomy, come from two classes or more, and spread evenly over it.",
    coverage:
      "How evenly the strongest images spread over the classes of their lowest common node: 1 is even.",
    precision: "Share of the latent's images above its cut-off that are under the node.",
    recall: "Share of the node's images that are above the latent's cut-off.",
    AUROC:
      "Chance that an image under the node fires the latent more than one that is not: .5 is chance, 1 is perfect.",
    purity: "Share of the strongest images that come from the most frequent class.",
    monosemanticity:
      "Mean similarity of two of the strongest images by their classes (Lin); 1 if all are of one class.",
    recurrence:
      "Share of the dictionaries that differ in the random seed alone in which a latent points almost the same way (cosine of .7 or more).",
    "cosine over seeds":
      "Largest cosine with a latent of another seed. Beside it, the same with the other dictionary's dimensions in random order.",
    "fires on": "Images on which the latent is above 0, of the whole evaluation split.",
    misses: "Images under the latent's best node on which it stays at 0.",
    "false alarms": "Images outside the latent's best node, those that fire it most.",
    "relevancy map":
      "Which patches of the image the latent's value comes from. Compare with the control “shuffled”, the map of another latent on the same image: if that looks the same, the map shows where the model looks, not what this latent detects.",
    "linear probe":
      "MCC of a linear classifier trained on the same activations with the labels: what is there without any dictionary. On held-out classes: of one that learnt half of the node's classes.",
    start:
      "The same kind of autoencoder before training. It points towards single images, and images have classes: what training finds is what goes beyond it.",
    random: "Random directions, read like an autoencoder of the same kind.",
    neurons: "The backbone's own units, each in both directions.",
    pca: "Principal components of the activations, each in both directions.",
    tree: "Latents that stand in trees, a parent firing wherever its child does, and others for what these leave over.",
    matching_pursuit:
      "Latents chosen one after another, each for what those before it leave over.",
    hsae: "Parents, each with children of its own, of which one fires where the parent does.",
    archetypal: "Latents whose directions are mixtures of the activations' own clusters.",
    hierarchical_topk: "One autoencoder trained for every number of latents up to a largest one.",
    ortsae: "Latents whose directions are kept apart from one another.",
    tied: "Latents that fire for likeness to the direction that they write.",
    aligned: "Latents that read in full what they write.",
    likeness:
      "The decoder of a trained autoencoder, read by likeness instead of its encoder, which leaves out what other latents explain.",
    kmeans: "Centres of a k-means clustering of the activations.",
    class_means:
      "The direction of each class's mean. Supervised: it is told the classes of the training images.",
    node_means:
      "The direction of the mean of each class and each group of classes. Supervised: it is told the taxonomy and the classes of the training images.",
    "random backbone": "The same architecture with random weights: what pixels alone amount to.",
    undrawn:
      "The planted world draws nothing that the classes of this node have in common. It was declared before any score: a dictionary that recovers it has learnt it from single classes.",
    FVE: "Fraction of the activations' variance that the dictionary reconstructs.",
    patches:
      "By masks, which say what a patch shows: of each class and group the latent that tells its patches best from others was chosen on half of the images. The numbers are of the other half.",
    places:
      "The strongest of those images of which codes were kept patch by patch. Brightness is the activation on the patch, as a share of the image's largest.",
    "average precision":
      "Precision, averaged over the node's patches in the order in which the latent points at them: 1 if they come before all others, chance if it does not look. With the classes rearranged: of groups of as many classes at random, with latents chosen anew.",
    "knows the image":
      "What a latent would have that fires on all patches of the images that show the node, and on no others: it knows what, not where.",
    "purity at 16":
      "Share of the node's patches among the 16 at which the latent points most.",
    pairs:
      "Pairs of images that differ in one thing, to the pixel where they were drawn. The latent was chosen on other images. It answers if it fires on the image that has the thing and not on the one that lacks it.",
    TAPA: "Answer to what all classes of the node have and no others: the mean of 1 where the latent fires with it and not without it, −1 the other way round. It is no evidence alone: breaking any large part of an object may give the same.",
    "own part":
      "Taking away what one class has of its own. A latent for the group should leave it alone.",
    "shared over own":
      "The same image without the own part and without the shared one: above 0 if the latent minds the shared part more.",
    "other part":
      "Taking away something that the node's classes do not have in common, or not they alone.",
    within:
      "Another class of the node drawn at random in the place of one: is one class as good as another? Neither image has what the other lacks, so there is no answer, only how often it decides.",
    across: "A class of the node in the place of one that is not of it: all of the object changes.",
    answer:
      "Mean over the pairs of 1, 0 or −1; the interval is for other scenes of the same nodes. Random latents are others of the dictionary that fire as often: 95% of 100 draws.",
    flips: "How often the change decides whether the latent fires, either way.",
    ablation:
      "The latents, chosen on one half of the images, are taken away from the token on images of the other half, and the rest of the model is run. What the dictionary does not explain of the token stays.",
    "P lost":
      "What the summed probability of the node's classes loses on its own images. Siblings, elsewhere: what other nodes of about its size lose on theirs.",
    selectivity:
      "P lost on the node's own images, minus the larger loss of its siblings and of other nodes: above 0 if the node is hit more than the rest.",
    evenness:
      "Over how many of the node's classes the loss is spread, as a share of them: 1 is all alike, 1 / classes is one class alone.",
    "within KL":
      "How much the choice among the node's classes changes (KL divergence, in nats). Near 0 with a large loss: the group goes, the choice within it stays.",
    chosen: "The node's latents, those of its coalition, are taken away as they fire.",
    matched:
      "Other latents that fire as often and as strongly are taken away where they fire: any latents would do, if this were as large.",
    directions:
      "On the images of the node's latents, as much is taken away in other latents' directions: disturbing just these images would do, if this were as large.",
    shrunk: "On the same images, the token is shortened by as much.",
    permuted:
      "Classes change places in the taxonomy and latents are chosen anew: what latents of single classes take away of any union of classes.",
    projected:
      "All that the token has along the latents' directions is taken away, however strongly they fire: how much the model uses the direction, not what the dictionary says of it.",
    "projected permuted": "The same of latents chosen with the classes rearranged.",
    steered:
      "The latents' mean contribution on the node's images, added on images outside it on which none of them fires.",
    dead: "Fires on no evaluation image.",
    rare: "Fires on too few images of either half to be scored.",
    parents: "Latents that fire on nearly all images of this one, and on many others.",
    children: "Latents that fire on few other images than this one does.",
    neighbours: "Latents of the same dictionary whose decoder rows point most nearly the same way.",
  };

  const tip = () => document.getElementById("tip");

  function show(anchor, text) {
    const box = tip();
    box.textContent = text;
    box.hidden = false;
    const edges = anchor.getBoundingClientRect();
    const left = Math.min(edges.left, window.innerWidth - box.offsetWidth - 8);
    const under = edges.bottom + 6;
    const above = edges.top - box.offsetHeight - 6;
    const fits = under + box.offsetHeight < window.innerHeight || above < 0;
    box.style.left = `${Math.max(8, left)}px`;
    box.style.top = `${fits ? under : above}px`;
  }
  const hide = () => {
    tip().hidden = true;
  };

  /** A word with its meaning: hover, focus or tap it. */
  function term(key, text = key) {
    const anchor = h(
      "button",
      {
        type: "button",
        class: "term",
        "aria-describedby": "tip",
        onmouseenter: () => show(anchor, MEANING[key]),
        onmouseleave: hide,
        onfocus: () => show(anchor, MEANING[key]),
        onblur: hide,
        onclick: () => show(anchor, MEANING[key]),
      },
      text,
    );
    return anchor;
  }

  return { MEANING, term, show, hide };
})();
const { term } = terms;
